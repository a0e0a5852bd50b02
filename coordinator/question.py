"""One question on its way, as watchers see it: its state, who answered so far, and how it ended.

States: submitted → logged → approved → running (k of n) → released | refused | failed | expired | cancelled.
"""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from coordinator.admission import Admitted
from coordinator.news import News, first_of
from coordinator.register import Contributed
from protocols.refusal import Refusal
from protocols.secagg.binding import Binding
from protocols.statements import Query
from protocols.v1 import link_pb2

CALM_S = 0.05
ENDED = frozenset({"released", "refused", "failed", "expired", "cancelled"})


class Ended(Exception):
    """The question ends here without a release."""

    def __init__(self, state: str, refusals: list[Refusal]) -> None:
        super().__init__(state)
        self.state, self.refusals = state, refusals


@dataclass(slots=True)
class Breakdown:
    """Seconds per step; the steps follow each other, so they sum to the whole."""

    started: float = field(default_factory=time.perf_counter)
    last: float = 0.0
    steps: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.last = self.started

    def step(self, name: str) -> None:
        now = time.perf_counter()
        self.steps[name] = self.steps.get(name, 0.0) + now - self.last
        self.last = now

    def to_json(self) -> str:
        return json.dumps(
            {**{name: round(value, 6) for name, value in self.steps.items()}, "total": round(self.last - self.started, 6)}
        )


@dataclass(slots=True, eq=False)
class Question:
    """Live state; durable state is in the register and the ledger."""

    admitted: Admitted
    state: str = "submitted"
    readys: dict[str, bytes] = field(default_factory=dict)
    refused: dict[str, bytes] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    """Who has answered the Offer; what it said may still be on its way into the ledger."""
    made: dict[tuple[int, int], dict[str, Contributed]] = field(default_factory=dict)
    balked: dict[tuple[int, int], dict[str, list[Refusal]]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    answer: bytes = b""
    offer: link_pb2.CoordinatorFrame | None = None
    member_frames: list[link_pb2.CoordinatorFrame] = field(default_factory=list)
    not_after: int = 0
    gone: set[str] = field(default_factory=set)
    member_uris: tuple[str, ...] = ()
    binding: Binding | None = None
    """Of the attempt that is under way."""
    next_round: int = -1
    """The one behind the round that this process has just completed: of it the register holds nothing yet."""
    is_cancelled: bool = False
    is_gathered: bool = False
    breakdown: Breakdown = field(default_factory=Breakdown)
    changed: News = field(default_factory=News)
    over: News = field(default_factory=News)
    """For who does not look at every change."""

    @property
    def id(self) -> bytes:
        return self.admitted.signed.id

    @property
    def query(self) -> Query:
        return self.admitted.asked.query

    @property
    def fewest(self) -> int:
        """How many hospitals an answer needs: the floor, and in exact mode every one of the audience."""
        return len(self.query.audience) if self.admitted.asked.is_exact else self.query.floor

    def why_balked(self) -> list[Refusal]:
        """Every reason with which hospitals refused a member set so far."""
        return [each for balked in self.balked.values() for refusals in balked.values() for each in refusals]

    def note(self) -> None:
        """Wakes everybody who waits for this question."""
        self.changed.tell()
        if self.state in ENDED:
            self.over.tell()

    def progress(self) -> link_pb2.Progress:
        is_last = self.state in ENDED
        return link_pb2.Progress(
            query=self.id,
            state=self.state,
            ready=len(self.made[max(self.made)]) if self.made else len(self.readys),
            of=len(self.member_uris) if self.made else len(self.query.audience),
            round=max(self.made)[0] if self.made else 0,
            rounds=self.query.rounds,
            refusals=[reason_message(each) for each in self.refusals],
            answer=self.answer if is_last else b"",
            is_last=is_last,
            breakdown=self.breakdown.to_json() if is_last else "",
        )

    async def follow(self) -> AsyncIterator[link_pb2.Progress]:
        """What changes, as often as eyes can follow, and the end at once."""
        shown = b""
        while True:
            progress = self.progress()
            if (bytes_ := progress.SerializeToString()) != shown:
                shown = bytes_
                yield progress
            if progress.is_last:
                return
            if self.progress().SerializeToString() == shown:
                await first_of(None, self.changed)
            await self._calm()

    async def _calm(self) -> None:
        if self.state not in ENDED:
            await first_of(CALM_S, self.over)


def reason_message(refusal: Refusal) -> link_pb2.Reason:
    return link_pb2.Reason(**refusal.to_json())
