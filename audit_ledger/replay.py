"""One pass over a log: its bundles are read ahead by a second process, its rules are replayed here, in order.

Both processes read and verify; only this one decides. Where the next bundle in order is not there yet, this process reads one
itself instead of waiting. What is held at a time is bounded, and of an answered question only that it ended.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing import get_context

from audit_ledger.findings import Finding, Rule
from audit_ledger.party.process import collected_seldom, settle
from audit_ledger.reading import Keys, ReadBundle, ReadEntry, Wanted, made_again, read_bundles
from audit_ledger.tiles import WIDTH, Tile, TileStack, write_tile
from audit_ledger.tree import HASH_SIZE
from audit_ledger.vectors import Committed, Vectors
from audit_ledger.view import LedgerView
from protocols.clock import stamp
from protocols.contract import CONTRACT
from protocols.identity import fingerprint
from protocols.statements import Opening, Ready, Release, Review, Signed, Statement
from protocols.union import asks_for_residents

AHEAD = 6
"""Jobs that the other process has or is given."""
HELD = 24
"""Jobs whose results may wait here for their turn."""
WORTH_A_PROCESS, HASHES_WORTH_A_PROCESS = 4096, 200_000
"""Entries below which a second process costs more than it gives: it starts as long as some signatures take, or very many hashes."""
Progress = Callable[[int, int], None]
"""Told (done, of) after every bundle."""


@dataclass(frozen=True, slots=True)
class Dates:
    """Between which dates a new statement may lie, by the witnesses' times of the checkpoints before and behind it.

    `earliest` is for those that are logged as soon as they are made: what is dated before the last checkpoint, and was not in it,
    was not there then.
    """

    earliest: str = ""
    latest: str = "~"

    @classmethod
    def between(cls, before: int | None, today: int | None) -> "Dates":
        earliest = stamp(before - CONTRACT.window_s - CONTRACT.clock_tolerance_s) if before is not None else ""
        return cls(earliest, stamp(today + CONTRACT.clock_tolerance_s) if today is not None else "~")

    def findings(self, index: int, statement: Statement) -> Iterator[Finding]:
        if statement.at > self.latest:
            yield Finding(index, Rule.POSTDATED, f"{statement.at}, seen by {self.latest}")
        if statement.at < self.earliest and isinstance(statement, Ready | Opening | Release | Review):
            yield Finding(index, Rule.BACKDATED, f"{statement.at}, not there at {self.earliest}")


@dataclass(slots=True)
class Replay:
    """What is verified so far; `run` carries it on to a larger size."""

    view: LedgerView
    dates: Dates = field(default_factory=Dates)
    stack: TileStack = field(default_factory=TileStack)
    kinds: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    vectors: Vectors | None = None

    def run(self, wanted: Wanted, check: Callable[[Tile, bytes], None], progress: Progress, processes: int = 2) -> None:
        """`wanted` names the target, its size and what is kept; its range is set here. Raises what `read_bundles` raises."""

        def checked(tile: Tile, hashes: bytes) -> None:
            check(tile, hashes)
            if wanted.mirror is not None:
                write_tile(wanted.mirror, tile, hashes)

        with collected_seldom():
            for bundle in bundles(replace(wanted, start=self.stack.size), self._keys, processes):
                known = len(self.stack.levels[0])
                self.stack.add(bundle.leaves, bundle.root, checked)
                if not wanted.hashes_only:
                    self._enter(bundle, known, not wanted.keeps_entries)
                progress(self.stack.size, wanted.size)
        self.stack.finish(checked)

    def _enter(self, bundle: ReadBundle, known: int, forgets: bool) -> None:
        for at, read in enumerate(bundle.entries):
            place = known + at * HASH_SIZE
            signed = made_again(read)
            if isinstance(signed, Signed):
                self.findings += self.dates.findings(self.view.size, signed.statement)
            self.findings += self.view.enter(bundle.leaves[place : place + HASH_SIZE], signed)
            self.kinds[kind_in(read)] += 1
            if isinstance(signed, Signed) and isinstance(signed.statement, Release):
                self._ended(signed.statement, forgets)

    def _ended(self, release: Release, forgets: bool) -> None:
        facts = self.view.questions.get(release.query)
        if self.vectors is not None and facts is not None and facts.release is not None and facts.release[1] is release:
            opened = facts.openings.get(release.round)
            if release.status == "released" and opened is not None:
                receipts = {uri: each for (uri, round_), each in facts.receipts.items() if round_ == opened[2].first_round}
                is_sum = not asks_for_residents(facts.query.spec)
                self.findings += self.vectors.findings(Committed((opened[0], opened[2]), receipts, facts.release, is_sum))
        if forgets:
            self.view.forget(release.query)

    def _keys(self) -> Keys:
        return {fingerprint(key): key for key in self.view.authority.keys}


def kind_in(read: ReadEntry | Signed | str) -> str:
    if isinstance(read, Signed):
        return read.statement.kind
    return "malformed" if isinstance(read, str) else read.payload_type.removeprefix("application/vnd.kapok.")[: -len(".v1+json")]


def bundles(wanted: Wanted, keys: Callable[[], Keys], processes: int) -> Iterator[ReadBundle]:
    """The bundles of [wanted.start, wanted.size) in order."""
    first, last = wanted.start // WIDTH, -(-wanted.size // WIDTH)
    step = 16 if wanted.hashes_only else 4
    jobs = deque(range(first, last, step)) if wanted.size > wanted.start else deque()

    def job(at: int) -> Wanted:
        return replace(wanted, first=at, last=min(at + step, last), keys=keys())

    worth = HASHES_WORTH_A_PROCESS if wanted.hashes_only else WORTH_A_PROCESS
    if processes < 2 or wanted.size - wanted.start < worth:
        for at in jobs:
            yield from read_bundles(replace(job(at), is_local=True))
        return
    with ExitStack() as cleanup:
        pool = cleanup.enter_context(ProcessPoolExecutor(processes - 1, get_context("spawn"), initializer=settle))
        cleanup.callback(pool.shutdown, wait=False, cancel_futures=True)
        yield from _in_order(jobs, job, pool, AHEAD * (processes - 1))


def _in_order(jobs: deque[int], job: Callable[[int], Wanted], pool: ProcessPoolExecutor, ahead: int) -> Iterator[ReadBundle]:
    order = deque(jobs)
    running: dict[int, Future[list[ReadBundle]]] = {}
    done: dict[int, list[ReadBundle]] = {}
    while order:
        while jobs and sum(not each.done() for each in running.values()) < ahead and len(running) + len(done) < HELD:
            at = jobs.popleft()
            running[at] = pool.submit(read_bundles, job(at))
        turn = order[0]
        if turn in done:
            yield from done.pop(order.popleft())
        elif running[turn].done() or not jobs or len(running) + len(done) >= HELD:
            yield from running.pop(order.popleft()).result()
        else:
            at = jobs.popleft()
            done[at] = read_bundles(
                replace(job(at), is_local=True)
            )  # verified now: when its turn comes, the other process may be waited for
