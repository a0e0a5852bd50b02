"""Visits and patients by week and district over one hospital, four cells a patient: ours beside other libraries and plain DuckDB.

Each side is a process of its own with one thread, and they take turns. Ours and DuckDB read the records file in every turn; the
peers have their table in memory and its weeks cut before the first. What a peer calls a count is bounded and noised by its own
rules; that it is the same table is checked by the number of its cells, all but a few.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from simulations.bench.hospital import hospital_of, week_table
from simulations.bench.peers.environments import CannotInstall, python_of
from simulations.bench.peers.sides import Side, Turn, around, in_turns, processor_s, ratio, started
from simulations.bench.rows import Row, load

VISITS, MANY_VISITS = 1_000_000, 10_000_000
PEERS: Final = {
    "OpenDP on Polars": ("opendp", "opendp_polars"),
    "SmartNoise SQL": ("smartnoise", "smartnoise_sql"),
}
FASTER, BESIDE_PLAIN, MOST_MB = ">= 10", "<= 2.5", "<= 2000"
PEER_BYTES_A_VISIT = 1_300
"""What a peer may hold: 10 GB and some room for ten million visits."""
Tell = Callable[[str], None]


def rows(is_quick: bool, tell: Tell) -> list[Row]:
    """One million visits; with `is_quick` a tenth of it."""
    visits, turns = (VISITS // 10, 1) if is_quick else (VISITS, 5)
    found, absent = _measured(visits, tell, lambda quick, slow: in_turns(quick | slow, turns))
    return list(_rows(found, absent, f"{_size(visits)}, median of {turns} turns"))


def rows_of_many(is_quick: bool, tell: Tell) -> list[Row]:
    """Ten million visits: the peers take minutes, and one turn each."""
    visits, turns = (VISITS, 1) if is_quick else (MANY_VISITS, 3)
    found, absent = _measured(visits, tell, lambda quick, slow: around(quick, slow, turns))
    return list(
        _rows(found, absent, f"{_size(visits)}, one turn of each peer between {turns} and {turns} of ours and DuckDB, medians")
    )


def _size(visits: int) -> str:
    return f"{visits:,} visits, 52 weeks x 11 districts, one thread"


Sides = dict[str, Callable[[], Turn]]


def _measured(
    visits: int, tell: Tell, taken: Callable[[Sides, Sides], dict[str, list[Turn]]]
) -> tuple[dict[str, list[Turn]], dict[str, str]]:
    """What ours and DuckDB, and the peers, needed in the turns that are `taken`; and why a peer has none."""
    with tempfile.TemporaryDirectory(prefix="kapok-bench-") as folder, ExitStack() as running:
        tell(f"a hospital of {visits:,} visits")
        records = hospital_of(visits, Path(folder))
        quick = {name: running.enter_context(started(name, records)).turn for name in ("ours", "plain")}
        slow: Sides = {}
        absent: dict[str, str] = {}
        for peer, (environment, module) in PEERS.items():
            tell(f"{peer}: its environment and table")
            try:
                slow[peer] = _peer(running, environment, module, records, visits).turn
            except _NotRun as reason:
                absent[peer] = str(reason)
        tell("turns")
        return taken(quick, slow), absent


class _NotRun(Exception):
    """Why a peer has no figure."""


def _peer(running: ExitStack, environment: str, module: str, records: Path, visits: int) -> Side:
    if _free_bytes() < visits * PEER_BYTES_A_VISIT:
        raise _NotRun(
            f"not run: {visits * PEER_BYTES_A_VISIT / 1e9:.0f} GB of memory are needed, {_free_bytes() / 1e9:.0f} GB are free"
        )
    try:
        python = python_of(environment)
    except CannotInstall as reason:
        raise _NotRun(f"not run: {reason}") from None
    table = records.parent / "weeks.csv"
    if not table.is_file():
        week_table(records, table)
    return running.enter_context(started(module, table, python))


def _free_bytes() -> int:
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def _rows(found: dict[str, list[Turn]], absent: dict[str, str], how: str) -> Iterator[Row]:
    ours, plain = found["ours"], found["plain"]
    how = f"{how}; {load()}"
    for peer in PEERS:
        name = f"{peer} beside a bounded count of visits and patients with noise"
        if peer in absent:
            yield Row.not_measured(name, "s", FASTER, absent[peer])
            continue
        _require_the_same_table(found[peer], ours)
        seen = f"{how}; peak {found[peer][-1].peak_mb:,.0f} MB beside {ours[-1].peak_mb:,.0f} MB"
        shown = {"reference": processor_s(ours), "ratio": ratio(found[peer], ours)}
        yield Row.measured(name, "s", processor_s(found[peer]), seen, bar=FASTER, **shown)
    shown = {"reference": processor_s(plain), "ratio": ratio(ours, plain)}
    yield Row.measured("the same beside plain DuckDB", "s", processor_s(ours), how, bar=BESIDE_PLAIN, **shown)
    memory = f"{how}; the kernel's high-water mark of the process; plain DuckDB {plain[-1].peak_mb:,.0f} MB"
    yield Row.measured("memory of the bounded count", "MB", ours[-1].peak_mb, memory, bar=MOST_MB)


def _require_the_same_table(peer: list[Turn], ours: list[Turn]) -> None:
    # SmartNoise leaves out cells without a row: none at a million visits, some at a tenth of it.
    if not 0.9 * ours[-1].cells <= peer[-1].cells <= ours[-1].cells:
        raise AssertionError(f"a peer answered {peer[-1].cells} cells, ours are {ours[-1].cells}")
