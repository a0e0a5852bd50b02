"""What a node has ready before the member set comes: the noise share of the set that the whole audience is in.

Promise: a share is given out once; whoever asks for one that was not foreseen, or was taken, draws its own.

With count and share there, all that depends on records or on chance is done. What is left for the member set is to mask, sign and
store a vector of public length. So the slot of such a contribution begins with its Ready (`slots`, decision 0024).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from protocols.contract import colluders
from protocols.secagg.ring import Integers


@dataclass(frozen=True, slots=True)
class Share:
    """One node's noise for a member set of n hospitals with c colluders; `left_s` is the moment of the Ready (monotonic)."""

    n: int
    c: int
    noise: Integers
    left_s: float

    def waited_ms(self, now_s: float) -> int:
        """Whole milliseconds since the Ready left."""
        return max(0, int(1000 * (now_s - self.left_s)))


@dataclass(slots=True)
class Foreseen:
    """Shares by question, in memory alone: a process that starts again foresees nothing, and has its slots begin with the set."""

    _shares: dict[str, Share] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def foresee(self, query: str, audience: int, drawn: Callable[[int, int], Integers], left_s: float) -> None:
        """Keeps what `drawn(n, c)` gives for the whole audience; nothing where no such set could be answered."""
        n, c = audience, colluders(audience)
        if c >= n:
            return
        share = Share(n, c, drawn(n, c), left_s)
        with self._lock:
            self._shares[query] = share

    def take(self, query: str, n: int, c: int) -> Share | None:
        """The share, if it is of this n and c; it is not here any more afterwards, whatever becomes of it."""
        with self._lock:
            share = self._shares.pop(query, None)
        return share if share is not None and (share.n, share.c) == (n, c) else None

    def drop(self, query: str) -> None:
        with self._lock:
            self._shares.pop(query, None)

    def keep(self, queries: set[str]) -> None:
        """Drops all others."""
        with self._lock:
            self._shares = {query: share for query, share in self._shares.items() if query in queries}
