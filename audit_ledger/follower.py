"""Follows a log entry by entry, and believes only what the quorum cosigned.

`follow` takes the entries behind the last followed size and a cosigned checkpoint of exactly the size behind them. It checks log
signature and quorum, age, that the tree did not shrink, and that the entries hash to the checkpoint's root on top of what was
followed before (so consistency needs no further proof). Only then are they applied; on any failure nothing changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from audit_ledger.errors import RolledBack, TreeMismatch, Unavailable
from audit_ledger.findings import Finding
from audit_ledger.periods import carried, next_trust
from audit_ledger.policy import Accepted, TrustFile
from audit_ledger.tree import leaf_hash
from audit_ledger.view import LedgerView
from protocols.contract import CONTRACT


@dataclass(slots=True)
class Follower:
    """The verified ledger of one party. `accepted` is the newest checkpoint it took; `restore` feeds it its own stored entries."""

    trust: TrustFile
    view: LedgerView = field(init=False)
    accepted: Accepted | None = None

    def __post_init__(self) -> None:
        self.view = LedgerView(self.trust.entry0)

    @property
    def size(self) -> int:
        return self.view.size

    def follow(
        self, start: int, entries: Sequence[bytes], note: bytes, now: int, max_age_s: int | None = CONTRACT.freshness_s
    ) -> list[Finding]:
        """Raises a LedgerError and changes nothing, or applies the entries and returns what rules they break.

        `max_age_s` is None for a log that is closed: nobody vouches for its end anew, and the gate asks for freshness itself.
        """
        accepted = self.trust.policy.evaluate(note, now, max_age_s, CONTRACT.clock_tolerance_s)
        self.require_extension(start, entries, accepted)
        findings = [found for entry in entries for found in self.view.apply(entry)]
        self.accepted = accepted
        return findings

    def require_extension(self, start: int, entries: Sequence[bytes], accepted: Accepted) -> None:
        size, root = accepted.checkpoint.size, accepted.checkpoint.root
        if size < self.size:
            raise RolledBack(f"checkpoint of size {size}, but size {self.size} was followed before")
        if start != self.size or size != start + len(entries):
            raise Unavailable(f"expected entries {self.size} to {size}, got {len(entries)} from {start}")
        reached = self.view.range
        for entry in entries:
            reached.append(leaf_hash(entry))
        if reached.root() != root:
            raise TreeMismatch(f"checkpoint of size {size}: the entries lead to another root than the cosigned one")

    def successor(self, entry0: bytes, now: int) -> "Follower":
        """Follows the next period's log, which begins with `entry0`, from its start. Raises NotSuccessor."""
        following = Follower(next_trust(self.trust, self.view, entry0, now))
        following.view = carried(self.view, following.trust.entry0)
        return following

    def restore(self, entries: Sequence[bytes]) -> None:
        """Re-applies entries that this party verified and stored itself."""
        for entry in entries:
            self.view.apply(entry)
