"""`kapok-sim learn`."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from audit_ledger.words import Words, words

if TYPE_CHECKING:
    from simulations.learning.run import Learned, Step


def learn(
    out: Annotated[Path, typer.Option(help="Where chart and figures go. / 图与数据的输出目录")],
    hospitals: Annotated[int, typer.Option(min=4, max=1_000, help="How many virtual hospitals. / 虚拟医院数")] = 200,
    rounds: Annotated[int, typer.Option(min=2, max=50, help="Steps of each training. / 训练轮数")] = 15,
    study: Annotated[str, typer.Option(help="An installed study, as `kapok-node studies` names it. / 已安装的研究程序")] = "mlp",
    strategy: Annotated[str, typer.Option(help="One of Flower's averaging strategies. / Flower 的平均策略")] = "FedAvgM",
    price: Annotated[
        float, typer.Option(min=0.001, max=10, help="Renyi budget of all rounds together. / 全部轮次合计的 Rényi 预算")
    ] = 0.1,
    sampled: Annotated[
        float, typer.Option(min=0.01, max=1, help="The chance with which a patient takes part in a round. / 每轮被抽中的概率")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Of the invented table (never of noise). / 虚构数据的种子（与噪声无关）")] = 20250101,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as JSON. / 以 JSON 输出结果")] = False,
    lang: Annotated[str | None, typer.Option(help="en or zh; LANG decides if not given. / 语言")] = None,
) -> None:
    """Trains a study over virtual hospitals in Flower's Simulation Engine, with and without noise. / 在 Flower 仿真引擎中训练。"""
    spoken, told, out = words(["--lang", lang] if lang else [], os.environ), Console(stderr=True), out.resolve()
    from privacy.errors import PrivacyError
    from simulations.learning import run

    try:
        chosen = run.averaging(strategy)
        wanted = run.Wanted(study, chosen, hospitals, rounds, Fraction(str(price)), Fraction(str(sampled)), seed)
        out.mkdir(parents=True, exist_ok=True)
        with _progress(told, spoken, 2 * rounds) as step:
            found = run.learn(wanted, step)
    except (LookupError, PrivacyError, OSError) as error:
        _complain(told, str(error.args[0] if isinstance(error, LookupError) else error))
        raise typer.Exit(2) from None
    except ModuleNotFoundError as error:
        need = f"pip install 'kapok[learning]' ({error.name})"
        _complain(told, spoken.say(f"the extra `learning` is not installed: {need}", f"未安装 learning 扩展：{need}"))
        raise typer.Exit(2) from None
    except RuntimeError as error:
        _complain(told, str(error))
        raise typer.Exit(3) from None
    _show(found, out, told, spoken, as_json)


def _show(found: "Learned", out: Path, told: Console, spoken: Words, as_json: bool) -> None:
    from simulations.learning import shown

    shown.draw(found, out / "learning.png", out / "learning.svg")
    (out / "learning.json").write_text(json.dumps(found.to_json(), indent=1) + "\n")
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        Console().print(shown.table(found, spoken))
    told.print(spoken.say(f"chart and figures are in {out}", f"图与数据在 {out}"), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _progress(told: Console, spoken: Words, total: int) -> "Iterator[Step]":
    """Rounds of both trainings, with the time left, on stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=told, transient=True, disable=not told.is_terminal) as bar:
        task, rounds = bar.add_task(spoken.say("the engine starts", "引擎启动"), total=total), spoken.say("rounds", "轮次")
        yield lambda: bar.update(task, advance=1, description=rounds)


def _complain(told: Console, message: str) -> None:
    told.print(f"✗ {message}", style="red", markup=False, highlight=False, soft_wrap=True)
