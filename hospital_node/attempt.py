"""What a node keeps of a member set while it answers it, and of a training's rounds as long as its process lives.

Nothing of it is written: what a crash leaves of an attempt is in the journal alone.
"""

from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock

from hospital_node.foreseen import Share
from hospital_node.journal import StoredReady
from protocols.asked import Asked
from protocols.exact import LARGEST_ENTRY
from protocols.secagg.binding import Binding
from protocols.secagg.ring import Integers, Vector
from protocols.secagg.sealing import chained


@dataclass(slots=True)
class Segment:
    """A training's rounds as this process made them: the root of their seeds (in memory only), who is still in, what was sent."""

    root: bytes
    sealed: bytes
    members: frozenset[str]
    sent: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)

    def heads(self) -> tuple[bytes, bytes]:
        """The hash chains of sealed and masked over the rounds so far, in order."""
        heads = (bytes(32), bytes(32))
        for _, (sealed, masked) in sorted(self.sent.items()):
            heads = (chained(heads[0], sealed), chained(heads[1], masked))
        return heads


@dataclass(frozen=True, slots=True)
class Cover:
    """All of a contribution that no record has a part in: the sealed seed, and masks and noise in one vector of the ring."""

    sealed: bytes
    vector: Vector


@dataclass(slots=True)
class Attempt:
    """A member set that was accepted; `contribute` turns it into bytes, once, however often it is asked for."""

    binding: Binding
    value: bytes
    ready: StoredReady
    asked: Asked
    count: "Future[Integers]"
    share: Share | None = None
    cover: Cover | None = None
    is_stored: bool = False
    """It was made and written once. If it is gone from the journal since, it is never made again (rule 3 of `contributing`)."""
    once: Lock = field(default_factory=Lock)

    @property
    def query(self) -> str:
        return self.ready.query


def require_within(exact: Integers) -> None:
    """Raises OverflowError for an entry that no ring was priced for: an exact sum never wraps."""
    if len(exact) and not -LARGEST_ENTRY <= int(exact.min()) <= int(exact.max()) <= LARGEST_ENTRY:
        raise OverflowError("an entry beyond what exact mode may add up")


def is_segment(ready: StoredReady) -> bool:
    """Whether the Ready covers a training's rounds."""
    return ready.first_round < ready.last_round
