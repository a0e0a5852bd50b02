"""`kapok-sim`: a demo for people who want to see a city answer, attacks for those who want to see it withstand, and a training.

Exit codes: 0 the auditor's verdict is clean (no attack got more than is allowed, or other than the stated noise predicts), 1 it is
not, 2 usage, 3 a program of the city failed.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from audit_ledger.party.help import in_one_language
from audit_ledger.party.output import steady_output
from audit_ledger.words import words
from simulations.learning.command import learn
from simulations.processes import SLOT_MS, CommandFailed, end_by_signals, inherited
from simulations.steps import Steps

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="A city to try Kapok on. / 模拟城市。"
)


@app.callback()
def _root() -> None:
    """A city to try Kapok on. / 模拟城市。"""


@app.command(epilog="Example: kapok-sim demo --out build/demo --hospitals 8")
def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes. / 输出目录")],
    hospitals: Annotated[int, typer.Option(min=4, max=24, help="How many hospitals. / 医院数")] = 6,
    fhir: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="FHIR R4 records instead of invented ones. / 用 FHIR R4 记录代替虚构的"),
    ] = None,
    visits: Annotated[
        int, typer.Option(min=100, help="Visits at the average hospital of the invented city. / 平均就诊人次")
    ] = 8_000,
    slot_ms: Annotated[
        int, typer.Option(min=200, help="Time a hospital has for a count; longer where the machine is busy. / 计数时限")
    ] = SLOT_MS,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the city running and print its addresses. / 让城市继续运行")] = False,
    seed: Annotated[int, typer.Option(help="Of the invented city (never of noise). / 虚构城市的种子（与噪声无关）")] = 20250101,
    year: Annotated[int | None, typer.Option(help="Asked about; 2025, or the busiest year of --fhir. / 所问年份")] = None,
    lang: Annotated[str | None, typer.Option(help="en or zh; LANG decides if not given. / 语言")] = None,
) -> None:
    """Founds a city of real processes, asks, trains, audits. / 建城、提问、训练、审计。"""
    of_starter = inherited()
    from simulations.city.relocate import UnreadableSource
    from simulations.demo import Demo

    end_by_signals()
    try:
        spoken = words(["--lang", lang] if lang else [], os.environ)
        raise typer.Exit(Demo(out.resolve(), hospitals, fhir, seed, year, visits, slot_ms, spoken, of_starter).run(keep))
    except (UnreadableSource, OSError) as error:
        Console(stderr=True).print(f"✗ {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except CommandFailed as failed:
        Console(stderr=True).print(f"[red]✗[/] {failed}", highlight=False)
        raise typer.Exit(3) from None


@app.command(epilog="Example: kapok-sim attacks --out build/attacks --json")
def attacks(
    out: Annotated[Path, typer.Option(help="Where everything goes. / 输出目录")],
    hospitals: Annotated[int, typer.Option(min=4, max=12, help="How many hospitals. / 医院数")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as JSON. / 以 JSON 输出结果")] = False,
    lang: Annotated[str | None, typer.Option(help="en or zh; LANG decides if not given. / 语言")] = None,
) -> None:
    """Attacks a city of real processes and shows what (ε, δ) leaves of each attack. / 攻击模拟城市，对照 (ε, δ) 所允许的上限。"""
    from simulations.attacks import shown
    from simulations.attacks.on_loopback import attack_a_city

    end_by_signals()
    spoken, out = words(["--lang", lang] if lang else [], os.environ), out.resolve()
    told = Console(stderr=True)
    try:
        for name in ("city", "records", "logs"):
            shutil.rmtree(out / name, ignore_errors=True)
        with Steps(told, words=spoken) as steps:
            outcomes = attack_a_city(out, hospitals, steps)
        shown.draw(outcomes, out / "attacks.png")
        (out / "attacks.json").write_text(json.dumps(shown.as_json(outcomes), indent=1) + "\n")
    except CommandFailed as failed:
        told.print(f"✗ {failed}", style="red", markup=False, highlight=False)
        raise typer.Exit(3) from None
    except OSError as error:
        told.print(f"✗ {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if as_json:
        print(json.dumps(shown.as_json(outcomes)))
    else:
        Console().print(shown.table(outcomes, spoken))
    told.print(spoken.say(f"chart and figures are in {out}", f"图与数据在 {out}"), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if all(each.is_within and each.is_as_predicted for each in outcomes) else 1)


app.command(epilog="Example: kapok-sim learn --out build/learn --hospitals 200")(learn)


def main() -> None:
    with steady_output():
        in_one_language(typer.main.get_command(app), words(sys.argv, os.environ).is_chinese)(prog_name="kapok-sim")


if __name__ == "__main__":
    main()
