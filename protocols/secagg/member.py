"""What a hospital checks before it contributes: the rules of U and u, as one pure function.

In order: the binding is for this query, round and attempt, with the plan's own shape and noise; attempts go upward and one u is
accepted per (q, r, a); this hospital is a member with its own Ready and key; every member's Ready is in the verified ledger, signed
by an admitted identity, names the agreement key of the binding, and covers the round; identities and keys are distinct; every
other member of K is on this hospital's own peer list; K holds at least the floor; n and c are those of K. In exact mode U and K are
the whole audience. Every broken rule is named; none reads a record.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from protocols.contract import CONTRACT, colluders
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.statements.question import Ready


@dataclass(frozen=True, slots=True)
class LoggedReady:
    """A Ready that the holder has read in the verified ledger, with what the authority says of its signer at that index.

    `agreement` is the certified agreement key, or empty where certificate or identity did not verify; `identity` is the admitted
    identity key's fingerprint, empty if the hospital was not admitted.
    """

    id: bytes
    statement: Ready
    agreement: bytes
    identity: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What this hospital computed itself from the query, its Offer and its journal; nothing of it comes from the binding."""

    origin: str
    query: bytes
    first_round: int
    last_round: int
    not_after: int
    dimension: int
    ring: int
    scale: int
    variances: tuple[int, ...]
    input_hash: bytes
    floor: int
    audience: frozenset[str]
    me: str
    my_ready: bytes
    last_attempt: int
    accepted: Mapping[int, bytes]
    is_fixed: bool = False


def binding_refusals(
    binding: Binding, expected: Expected, readys: Mapping[str, LoggedReady], peers: frozenset[str], now: int
) -> list[Refusal]:
    """Every rule this binding breaks at this hospital; an empty list is consent to contribute once under it."""
    return [
        *_shape(binding, expected),
        *_attempt(binding, expected, now),
        *_sets(binding, expected),
        *_members(binding, expected, readys),
        *_peers(binding, expected, readys, peers),
    ]


def _shape(binding: Binding, expected: Expected) -> Iterator[Refusal]:
    for name in ("origin", "query", "dimension", "ring", "scale", "variances", "input_hash", "not_after"):
        want, got = getattr(expected, name), getattr(binding, name)
        if want != got:
            yield Refusal(Reason.BINDING_DIFFERS, _shown(want), _shown(got), name)
    if not expected.first_round <= binding.round <= expected.last_round:
        yield Refusal(Reason.BINDING_DIFFERS, f"{expected.first_round}..{expected.last_round}", str(binding.round), "round")


def _shown(value: object) -> str:
    return value.hex()[:16] if isinstance(value, bytes) else str(value)


def _attempt(binding: Binding, expected: Expected, now: int) -> Iterator[Refusal]:
    if not 1 <= binding.attempt <= CONTRACT.attempts:
        yield Refusal(Reason.ATTEMPTS_EXHAUSTED, f"1..{CONTRACT.attempts}", str(binding.attempt))
    accepted = expected.accepted.get(binding.attempt)
    if accepted is not None and accepted != binding.value:
        yield Refusal(Reason.ATTEMPT_REPLAYED, accepted.hex()[:16], binding.value.hex()[:16], f"attempt {binding.attempt}")
    if accepted is None and binding.attempt <= expected.last_attempt:
        yield Refusal(Reason.ATTEMPT_REPLAYED, f"above {expected.last_attempt}", str(binding.attempt))
    if now >= expected.not_after:
        yield Refusal(Reason.WINDOW_CLOSED, str(expected.not_after), str(now))


def _sets(binding: Binding, expected: Expected) -> Iterator[Refusal]:
    mine = binding.member(expected.me)
    if mine is None or mine.ready != expected.my_ready:
        yield Refusal(Reason.NOT_A_MEMBER, expected.my_ready.hex()[:16], mine.ready.hex()[:16] if mine else "absent", expected.me)
    if len(binding.counting) < expected.floor or expected.me not in binding.counting:
        yield Refusal(Reason.TOO_FEW_MEMBERS, f"{expected.floor}, oneself included", str(len(binding.counting)))
    wanted = (len(binding.counting), colluders(len(binding.counting)))
    if (binding.n, binding.c) != wanted:
        yield Refusal(Reason.BINDING_DIFFERS, f"n, c = {wanted[0]}, {wanted[1]}", f"{binding.n}, {binding.c}", "n, c")
    for each in binding.members:
        if each.uri not in expected.audience:
            yield Refusal(Reason.NOT_IN_AUDIENCE, "a hospital of the query's audience", "another", each.uri)
    if expected.is_fixed:
        yield from fixed_set_refusals(binding, expected.audience)


def fixed_set_refusals(binding: Binding, audience: Collection[str]) -> Iterator[Refusal]:
    """Exact mode: who is missing from the set, which is fixed when the question is asked."""
    for uri in sorted(set(audience) - set(binding.counting)):
        yield Refusal(Reason.NOT_THE_FIXED_SET, "every hospital of the audience, in exact mode", "missing", uri)


def _members(binding: Binding, expected: Expected, readys: Mapping[str, LoggedReady]) -> Iterator[Refusal]:
    for name in ("agreement", "ready"):
        if len({getattr(each, name) for each in binding.members}) != len(binding.members):
            yield Refusal(Reason.MEMBER_TWICE, "distinct", "repeated", name)
    identities = [readys[each.uri].identity for each in binding.members if each.uri in readys]
    if len(set(identities)) != len(identities):
        yield Refusal(Reason.MEMBER_TWICE, "distinct", "repeated", "identity")
    for each in binding.members:
        yield from _member(each.uri, each.agreement, each.ready, readys.get(each.uri), expected)


def _member(uri: str, agreement: bytes, ready: bytes, logged: LoggedReady | None, expected: Expected) -> Iterator[Refusal]:
    if logged is None or logged.id != ready:
        yield Refusal(Reason.READY_NOT_LOGGED, "this Ready in the ledger", "not there", uri)
        return
    if not logged.identity:
        yield Refusal(Reason.NOT_ADMITTED, "a hospital the auditor admitted", "none", uri)
    if not logged.agreement or logged.agreement != agreement:
        yield Refusal(Reason.MEMBER_KEY, "the certified key of its Ready", "another", uri)
    covered = (logged.statement.first_round, logged.statement.last_round)
    if logged.statement.query != expected.query.hex() or covered != (expected.first_round, expected.last_round):
        yield Refusal(
            Reason.MEMBER_NOT_READY, f"rounds {expected.first_round}..{expected.last_round}", "another query or rounds", uri
        )


def _peers(binding: Binding, expected: Expected, readys: Mapping[str, LoggedReady], peers: frozenset[str]) -> Iterator[Refusal]:
    for uri in binding.counting:
        logged = readys.get(uri)
        if uri != expected.me and (logged is None or logged.identity not in peers):
            yield Refusal(Reason.NOT_A_PEER, "on this hospital's peer list", "not there", uri)
