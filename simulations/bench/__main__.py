"""`python -m simulations.bench`: every benchmark beside its peer or limit, as JSON for machines and a table for people.

Exit codes: 0 all were measured (a missed bar is shown, and is no error), 1 with `--strict` where a bar was missed, 2 usage,
3 a benchmark crashed.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from simulations.bench import (
    accuracy,
    audit,
    count,
    import_fhir,
    latency,
    learning,
    log_door,
    research,
    residents,
    rounds,
    secagg,
    trainings,
)
from simulations.bench.peers import count as peers
from simulations.bench.rows import Row, load

Tell = Callable[[str], None]
GROUPS: dict[str, Callable[[bool, Tell], Sequence[Row]]] = {
    "secagg": lambda is_quick, _: secagg.rows(is_quick),
    "accuracy": lambda is_quick, _: accuracy.rows(is_quick),
    "count": lambda is_quick, _: count.rows(is_quick),
    "count-full": lambda is_quick, _: count.rows_of_many(is_quick),
    "peers": peers.rows,
    "peers-full": peers.rows_of_many,
    "residents": lambda is_quick, _: residents.rows(is_quick),
    "import": lambda _, __: [Row.of_json(row) for row in import_fhir.rows()],
    "latency": latency.rows,
    "latency-full": latency.rows_of_many,
    "learning": lambda is_quick, _: learning.rows(is_quick),
    "trainings": lambda is_quick, _: trainings.rows(is_quick),
    "rounds": rounds.rows,
    "research": lambda is_quick, _: research.rows(is_quick),
    "log": log_door.rows,
    "audit": audit.rows,
}
ON_DEMAND = {"count-full", "latency-full", "peers-full"}
"""Not run unless asked for: they take many minutes, and the peers more memory than some machines have."""
console = Console()
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog="Example: python -m simulations.bench --out build/bench --only secagg")
def bench(
    out: Annotated[Path, typer.Option(help="Where <group>.json goes. / 输出目录")] = Path("build/bench"),
    only: Annotated[str, typer.Option(help=f"One group: {', '.join(GROUPS)}. / 只测一组")] = "",
    full: Annotated[bool, typer.Option("--full", help="Also what takes long. / 包括耗时的项目")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer turns: shows that all runs, not how fast. / 快速")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 where a bar is missed. / 未达标则退出码为 1")] = False,
) -> None:
    """Measures and shows. / 基准测试。"""
    if only and only not in GROUPS:
        raise typer.BadParameter(f"expected one of {', '.join(GROUPS)}, got {only}", param_hint="--only")
    out.mkdir(parents=True, exist_ok=True)
    crashed, rows = [], []
    for name in [only] if only else [name for name in GROUPS if full or name not in ON_DEMAND]:
        try:
            found = _measured(name, quick)
        except Exception:  # noqa: BLE001 (one benchmark that cannot run must not hide the others)
            console.print_exception(max_frames=6)
            crashed.append(name)
            continue
        (out / f"{name}.json").write_text(json.dumps([row.to_json() for row in found], indent=2) + "\n")
        console.print(shown(name, found))
        rows += found
    console.print(f"{load()}; written to {out}/", highlight=False)
    raise typer.Exit(_status(crashed, rows, strict))


def _measured(name: str, is_quick: bool) -> list[Row]:
    started = time.monotonic()
    with console.status(f"{name} …") as status:
        found = list(GROUPS[name](is_quick, lambda text: status.update(f"{name}: {text}")))
    console.print(f"[green]✓[/] {name}: {time.monotonic() - started:.0f} s", highlight=False)
    return found


def _status(crashed: Sequence[str], rows: Sequence[Row], is_strict: bool) -> int:
    if crashed:
        console.print(f"[red]crashed: {', '.join(crashed)}[/]")
        return 3
    return 1 if is_strict and any(row.ok is False for row in rows) else 0


def shown(name: str, rows: Sequence[Row]) -> Table:
    """One group as a table; how each was measured is in the file."""
    table = Table("benchmark", "ours", "unit", "reference", "ratio", "bar", "", title=name)
    for row in rows:
        verdict = {None: "", True: "[green]✓[/]", False: "[red]missed[/]"}[row.ok]
        if row.ours is None:
            verdict = row.how
        table.add_row(row.name, _number(row.ours), row.unit, _number(row.reference), _number(row.ratio), row.bar, verdict)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(app())
