"""The node's decisions without a socket: follow the ledger, answer Offers, contribute under member sets, say what is due.

One thread calls `follow`, `offer`, `accept`, `ended` and `due`; `contribute` may run in any thread. Clock (unix seconds) and
randomness are passed in. The journal is the only state that outlives the process.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from audit_ledger.before import make_ready
from audit_ledger.findings import Finding
from audit_ledger.follower import Follower
from audit_ledger.gate import Gate
from audit_ledger.party.home import Home
from hospital_node.account import still_coming
from hospital_node.asked_before import AskedBefore
from hospital_node.attempt import Attempt
from hospital_node.config import Config
from hospital_node.contributing import Contributing
from hospital_node.counting import Counts, Plans
from hospital_node.dataset import DatasetFile
from hospital_node.journal import Journal, StoredContribution
from hospital_node.offering import Offering, Reply
from hospital_node.policy import Policy
from hospital_node.preparing import Preparing
from hospital_node.slots import KEPT_SHARE, Departure, departure, slot_ms
from hospital_node.tables.schema import TableSchema
from hospital_node.trace import Trace
from protocols.clock import month
from protocols.contract import CONTRACT
from protocols.errors import ProtocolError
from protocols.identity import Signer
from protocols.refusal import Refusal
from protocols.statements import Close, Release, Root, Statement, parse

_CLOSE = Close.payload_type().encode()
_RELEASE = Release.payload_type().encode()
"""Stands as it is in the envelope of a release; most entries are none, and need no second parsing."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node is given: its identity, its records, its policy, its clock and its randomness."""

    identity: Signer
    plans: Plans
    policy: Policy
    clock: Callable[[], int]
    random: Callable[[int], bytes]
    has_room: Callable[[], bool]
    trace: Trace
    dataset: DatasetFile | None = None
    tables: Mapping[str, TableSchema] = field(default_factory=dict)


class Answering:
    """See the module's docstring. `follower` is fed the journal's entries here, so that a restart goes on where it stopped."""

    def __init__(self, config: Config, follower: Follower, journal: Journal, given: Surroundings) -> None:
        follower.restore(journal.entries(follower.size))
        gate = Gate(follower, config.uri)
        shared = (config.uri, config.origin, given.identity, gate, journal, given.plans)
        self.config, self.follower, self.journal, self.given = config, follower, journal, given
        self.counts = Counts(given.plans, given.trace)
        self.offering = Offering(*shared, given.policy, given.has_room, given.clock, given.random, given.trace)
        self.contributing = Contributing(*shared, self.counts, given.policy, given.clock, given.random, given.trace)
        self.preparing = Preparing(
            config,
            lambda: follower.view,
            given.plans,
            lambda year: journal.bounding_key(year, given.random(32)),
            AskedBefore(config.uri, config.size_class),
        )
        self._stated: dict[str, Statement] = {}
        self._in_step: tuple[object, ...] | None = None

    # -- the ledger

    def follow(self, start: int, entries: Sequence[bytes], checkpoint: bytes) -> list[Finding]:
        """Verifies, applies and stores; raises a LedgerError and changes nothing when the entries are not the cosigned ones."""
        is_end = _CLOSE in entries[-1] if entries else self.follower.view.is_closed
        max_age_s = None if is_end else CONTRACT.freshness_s
        findings = self.follower.follow(start, entries, checkpoint, self.given.clock(), max_age_s)
        self.journal.add_entries(start, entries)
        for entry in entries:
            self._clean_after(entry)
        return findings

    def make_next_ready(self, home: Home, entry0: bytes) -> None:
        """The followed log is closed: the home is made ready for the next one. Raises NotSuccessor with every broken rule."""
        following = self.follower.successor(entry0, self.given.clock())
        root = parse(entry0).statement
        assert isinstance(root, Root)  # the rules of a successor say so
        assert root.previous is not None
        make_ready(home, following.trust, (self.journal.entries(), root.previous.checkpoint.encode()))

    def _clean_after(self, entry: bytes) -> None:
        if _RELEASE not in entry:
            return
        try:
            statement = parse(entry).statement
        except ProtocolError:
            return
        if isinstance(statement, Release):
            facts = self.follower.view.questions.get(statement.query)
            if facts is not None and facts.release is not None:
                self.contributing.forget(statement.query)

    # -- questions

    def offer(self, entry: bytes, proof: bytes, sealing: bytes, first_round: int, last_round: int) -> Reply:
        return self.offering.answer(entry, proof, sealing, first_round, last_round)

    def speculate(self, query: str, left_s: float) -> None:
        """To be called once the Ready has left; `left_s` (monotonic) is when it did."""
        self.contributing.speculate(query, left_s)

    def accept(self, preimage: bytes, round_input: bytes = b"") -> Attempt | list[Refusal]:
        attempt = self.contributing.accept(preimage, round_input)
        if not isinstance(attempt, list):
            # Decided by the thread that follows the ledger; the others are told.
            self.preparing.is_ready(attempt.asked, attempt.ready)
        return attempt

    def cover(self, attempt: Attempt) -> None:
        self.contributing.cover(attempt)

    def contribute(self, attempt: Attempt, patience_s: float) -> StoredContribution:
        return self.contributing.contribute(attempt, patience_s)

    def slot_ms(self, attempt: Attempt) -> int:
        has_months_ready = self.preparing.is_ready(attempt.asked, attempt.ready)
        return slot_ms(self.config, attempt.asked, attempt.binding.round, has_months_ready)

    def departure(self, attempt: Attempt, arrived_ms: int, now_s: float) -> Departure:
        """`arrived_ms` (unix) and `now_s` (monotonic) are the member set's arrival on two clocks: one that all share, and one that
        nobody sets back."""
        waited_ms, slot_ms = attempt.share.waited_ms(now_s) if attempt.share else 0, self.slot_ms(attempt)
        kept_ms = slot_ms / KEPT_SHARE if attempt.asked.is_of_residents else 0.0
        return departure(arrived_ms, slot_ms, self.config.grid_ms, waited_ms, kept_ms)

    def ended(self, query: str) -> None:
        """The coordinator's word, upon which what was sent goes. The count stays until the ledger ends the question or its window
        closes: an attempt that follows after all is of the same numbers, and a live database is not read twice under one charge."""
        self.contributing.forget_sent(query)

    @property
    def is_paused(self) -> bool:
        return self.journal.note("paused") is not None

    def sweep(self) -> None:
        """What no open window needs any more goes: old agreement keys, pair keys, counts and stored vectors; and months that were
        asked before are made ready. Every second."""
        self.journal.flush()
        now = self.given.clock()
        closed_before = now - CONTRACT.clock_tolerance_s
        self.contributing.forget_months(self.journal.destroy_agreements(closed_before, month(now - CONTRACT.window_s)))
        self.journal.forget_closed(closed_before)
        self.contributing.keep(self.journal.open_queries(closed_before))
        self.preparing.look(now)

    # -- what the ledger should hear from us

    def adopt_policy(self, policy: Policy, dataset: DatasetFile | None, tables: Mapping[str, TableSchema] | None = None) -> None:
        """IT has changed a file; what follows is judged by the new one."""
        self.offering.policy = self.contributing.policy = policy
        self.given = replace(self.given, policy=policy, dataset=dataset, tables=tables or {})

    def due(self) -> list[bytes]:
        """Statements that the ledger should have and has not: incidents, policy, dataset. The same bytes each time."""
        view = self.follower.view
        if view.authority.active(self.config.uri) is None:
            return []  # nothing we sign counts before the auditor's admission
        waiting = self.journal.outbox()
        self.journal.sent(identity for identity in waiting if identity in view.seen_ids)
        return [*(envelope for identity, envelope in waiting.items() if identity not in view.seen_ids), *self._changed()]

    def unlogged(self) -> list[bytes]:
        """Readys that were promised and are not in the ledger: sent again at the start of a connection, in order."""
        account = self.follower.view.accounts.get(self.config.uri)
        logged = account.sequence if account else 0
        stored = still_coming(self.follower.view, self.config.uri, self.journal.readys_until(self.given.clock(), logged))
        return [each.envelope for each in stored if not each.is_closed]

    def _changed(self) -> list[bytes]:
        given, view, uri, origin = self.given, self.follower.view, self.config.uri, self.config.origin
        registered = {each.table: each for _, each in view.registrations.values() if each.by == uri}
        looked_at = (given.policy, given.dataset, given.tables, view.policies.get(uri), view.datasets.get(uri), registered)
        if looked_at == self._in_step:
            return []
        wanted: list[tuple[Statement, Statement | None]] = [
            (given.policy.statement(origin, uri, given.clock()), view.policies.get(uri))
        ]
        if given.dataset is not None:
            wanted.append((given.dataset.statement(origin, uri, given.clock()), view.datasets.get(uri)))
        for name, schema in given.tables.items():
            wanted.append((schema.statement(origin, uri, given.clock(), name), registered.get(name)))
        due = [self._signed(new) for new, stated in wanted if not _says_the_same(new, stated)]
        self._in_step = None if due else looked_at  # looked at every second, and changed once a year
        return due

    def _signed(self, statement: Statement) -> bytes:
        of = f"{statement.kind} {getattr(statement, 'table', '')}"
        before = self._stated.get(of)
        if before is None or not _says_the_same(statement, before):
            self._stated[of] = before = statement
        return before.envelope().signed([self.given.identity]).encode()


def _says_the_same(first: Statement, second: Statement | None) -> bool:
    """Whether the two differ in their moment only."""
    return second is not None and first.model_copy(update={"at": second.at}) == second
