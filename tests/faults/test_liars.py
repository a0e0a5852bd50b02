"""A coordinator that lies, in memory, against real nodes and the auditor's real opener: one lie a row.

A lie at an Offer is refused and nothing is charged. A lie at a member set is refused, or changes u: then the masks do not cancel,
and even an auditor who hands out every seed leaves noise-like numbers behind (`test_told_different_sets_...`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from audit_ledger.errors import LedgerError
from audit_ledger.gate import reason_of
from audit_ledger.opener import OpenRequest, SealedSeed
from audit_ledger.tree import leaf_hash
from hospital_node.journal import StoredContribution
from privacy.pricing import reach
from protocols import statements as st
from protocols.asked import Asked
from protocols.canonical import unb64
from protocols.clock import month, stamp
from protocols.identity import SigningKey
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.binding import Binding, Member
from protocols.secagg.masks import MasksRemain, seed_stream_sum, unmask
from protocols.secagg.sealing import SealingKey, query_context, seal
from tests.hospital_node.support.nodes import Asking, Nodes
from tests.support.city import ORIGIN, City

Codes = set[str]
Tell = Callable[[Nodes], Codes]


@dataclass(frozen=True, slots=True)
class Lie:
    """`by` refuses with exactly these codes; `charges` is how often the honest part of the row was charged to the first node."""

    by: str
    reasons: frozenset[str]
    charges: int
    tell: Tell


LIES: dict[str, Lie] = {}


def lie(name: str, by: str, *reasons: str, charges: int) -> Callable[[Tell], Tell]:
    def add(tell: Tell) -> Tell:
        LIES[name] = Lie(by, frozenset(reasons), charges, tell)
        return tell

    return add


# -- at the Offer: nothing is charged ----------------------------------------------------------------------------------


@lie("a proof under a checkpoint of before 11 minutes", "node", "gate.stale", charges=0)
def stale_proof(world: Nodes) -> Codes:
    asking = world.ask()
    old = asking.proof
    world.city.now += 660
    return offered(asking, proof=old, sealing=world.sealing())


@lie("a checkpoint that nobody cosigned", "node", "gate.quorum", charges=0)
def not_cosigned(world: Nodes) -> Codes:
    asking = world.ask()
    head, separator, note = asking.proof.partition(b"\n\n")
    text, gap, signatures = note.partition(b"\n\n")
    ours = [line for line in signatures.splitlines(keepends=True) if ORIGIN.encode() in line]
    return offered(asking, proof=head + separator + text + gap + b"".join(ours))


@lie("an entry under a checkpoint of another history", "node", "gate.rolled_back", "gate.not_logged", charges=0)
def forked(world: Nodes) -> Codes:
    world.ask()  # so that the true history is as long as the other one
    world.first().bring()
    twin = City(world.path / "twin", world.n)  # the same keys and another history: log and witness both sign twice
    entry = world.query()
    twin.log_entry(entry)
    reply = world.first().answering.offer(entry, twin.prove(entry), world.sealing(), 0, 0)
    twin.close()
    return {str(each.reason) for each in reply.refusals}


@lie("a checkpoint larger than what was followed", "node", "gate.inconsistent", "gate.not_logged", charges=0)
def not_followed(world: Nodes) -> Codes:
    node = world.first()
    node.bring()
    asking = world.ask()
    reply = node.answering.offer(asking.entry, asking.proof, world.sealing(), 0, 0)
    return {str(each.reason) for each in reply.refusals}


@lie("a smaller checkpoint than was followed", "node", "gate.rolled_back", charges=0)
def smaller_checkpoint(world: Nodes) -> Codes:
    old = world.city.checkpoint()
    world.ask()
    world.first().bring()
    return not_taken(world, [], old)


@lie("an invented entry under a true checkpoint", "node", "gate.inconsistent", charges=0)
def invented_entry(world: Nodes) -> Codes:
    world.first().bring()
    world.ask()
    return not_taken(world, [world.query()], world.city.checkpoint())


def not_taken(world: Nodes, entries: list[bytes], checkpoint: bytes) -> Codes:
    answering = world.first().answering
    before = answering.follower.size
    with pytest.raises(LedgerError) as caught:
        answering.follow(before, entries, checkpoint)
    assert answering.follower.size == before == len(answering.journal.entries())
    return {str(reason_of(caught.value))}


@lie("bytes that are not the ledger's entry", "node", "gate.proof", "gate.bytes", charges=0)
def other_bytes(world: Nodes) -> Codes:
    asking = world.ask()
    envelope = st.parse(asking.entry).statement.envelope()
    again = envelope.signed([world.city.bureau, SigningKey.from_seed(bytes(32))]).encode()
    assert leaf_hash(again) != leaf_hash(asking.entry)
    return offered(asking, entry=again)


@lie("the proof of another query", "node", "gate.proof", charges=0)
def another_proof(world: Nodes) -> Codes:
    other, asking = world.ask(), world.ask()
    return offered(asking, proof=world.city.prove(other.entry))


@lie("a query whose validity has ended", "node", "query.expired", charges=0)
def expired(world: Nodes) -> Codes:
    asking = world.ask(entry_fields={"valid_until": stamp(world.city.now + 60)})
    world.city.now += 120
    asking.proof = world.city.prove(asking.entry)
    return offered(asking)


@lie("a sealing key of its own, as if the auditor's", "node", "round.sealing_key", charges=0)
def invented_auditor(world: Nodes) -> Codes:
    asking = world.ask()
    made = SealingKey.generate(month(world.city.now)).certificate(ORIGIN, SigningKey.from_seed(bytes(32)))
    return offered(asking, sealing=made.model_dump_json().encode())


@lie("an approval signed by a key of its own", "ledger", "authority.signature", charges=0)
def invented_approval(world: Nodes) -> Codes:
    asking = world.ask(entry_fields={"purpose": "research", "programme": None})
    said = st.Approval(**world.city.head("kapok://auditor/gz"), target=asking.id.hex(), until=stamp(world.city.now + 900))
    world.city.log_entry(world.city.sign(said, SigningKey.from_seed(bytes(32))))
    assert offered(asking, proof=world.city.prove(asking.entry)) == {"authority.not_approved"}
    return {str(each.rule) for each in world.city.findings()}


def offered(asking: Asking, **changes: object) -> Codes:
    return {str(each) for each in asking.reasons(asking.world.first(), **changes)}


# -- at the member set: charged once, as the Ready says; nothing of the lie leaves the node ----------------------------


@lie("a Ready of an earlier question", "node", "round.ready_not_logged", charges=2)
def replayed_ready(world: Nodes) -> Codes:
    before = all_ready(world)
    asking = all_ready(world)
    return told(asking, swapped_in(asking, before.binding().members[1]))


@lie("an agreement key of its own for a hospital", "node", "round.member_key", charges=1)
def invented_key(world: Nodes) -> Codes:
    asking = all_ready(world)
    second = asking.binding().members[1]
    own = AgreementKey(bytes(32), month(world.city.now)).public
    return told(asking, swapped_in(asking, replace(second, agreement=own)))


@lie("a hospital that nobody admitted", "node", "query.not_in_audience", "round.ready_not_logged", "round.not_a_peer", charges=1)
def invented_hospital(world: Nodes) -> Codes:
    asking = all_ready(world)
    ghost = Member("kapok://hospital/h99", AgreementKey(bytes(32), month(world.city.now)).public, bytes(32))
    binding = asking.binding()
    counting = (*binding.counting, ghost.uri)
    changes = {"members": (*binding.members, ghost), "counting": counting, "n": len(counting)}
    return told(asking, replace(binding, **changes))  # type: ignore[arg-type]


@lie("an input for a question that has none", "node", "round.binding", charges=1)
def other_input(world: Nodes) -> Codes:
    asking = all_ready(world)
    found = asking.contribute(world.first(), asking.binding(round_input=b"weights"), b"weights")
    assert isinstance(found, list)
    return {str(each.reason) for each in found}


@lie("less noise than the query states", "node", "round.binding_differs", charges=1)
def less_noise(world: Nodes) -> Codes:
    asking = all_ready(world)
    return told(asking, asking.binding(variances=(1,)))


@lie("a second member set for the same attempt", "node", "round.attempt", charges=1)
def second_set(world: Nodes) -> Codes:
    asking = all_ready(world)
    assert isinstance(asking.contribute(world.first(), asking.binding()), StoredContribution)
    return told(asking, smaller(asking))


def all_ready(world: Nodes) -> Asking:
    asking = world.ask()
    asking.all_ready()
    return asking


def told(asking: Asking, binding: Binding) -> Codes:
    node = asking.world.first()
    before = node.answering.journal.contribution(asking.id.hex(), 0, binding.attempt)
    found = asking.contribute(node, binding)
    assert isinstance(found, list)
    assert node.answering.journal.contribution(asking.id.hex(), 0, binding.attempt) == before
    return {str(each.reason) for each in found}


def swapped_in(asking: Asking, member: Member) -> Binding:
    binding = asking.binding()
    return replace(binding, members=tuple(member if each.uri == member.uri else each for each in binding.members))


def smaller(asking: Asking) -> Binding:
    """Without the last hospital."""
    binding = asking.binding()
    uris = binding.counting[:-1]
    return replace(binding, members=binding.members[:-1], counting=uris, n=len(uris))


# -- at the opening ----------------------------------------------------------------------------------------------------


@lie("two hospitals' sealed seeds swapped", "opener", "round.receipt", charges=1)
def swapped_seed(world: Nodes) -> Codes:
    asking = all_ready(world)
    request, _ = asking.request(asking.binding())
    first, second, *rest = request.seeds
    swapped = (replace(first, sealed=second.sealed), replace(second, sealed=first.sealed), *rest)
    return opened(world, replace(request, seeds=swapped))


@lie("a seed of its own for a hospital", "opener", "round.receipt", charges=1)
def own_seed(world: Nodes) -> Codes:
    asking = all_ready(world)
    request, _ = asking.request(asking.binding())
    first, *rest = request.seeds
    ready = st.parse(asking.readys[first.uri]).statement
    assert isinstance(ready, st.Ready)
    sealed = seal(bytes(32), unb64(ready.sealing.key, 32), query_context(asking.binding().value, first.uri))
    return opened(world, replace(request, seeds=(replace(first, sealed=sealed), *rest)))


@lie("a second opening, for a smaller member set", "opener", "round.opened_before", charges=1)
def second_opening(world: Nodes) -> Codes:
    asking = all_ready(world)
    request, _ = asking.request(asking.binding())
    asking.open(request)
    for node in world.nodes.values():
        node.bring()
    gone = max(asking.readys)
    kept = {uri: envelope for uri, envelope in asking.readys.items() if uri != gone}
    asking.readys = kept
    return opened(world, contributed(asking, asking.binding(attempt=2)))


@lie("hospitals told different member sets", "opener", "round.receipt", charges=1)
def different_sets(world: Nodes) -> Codes:
    asking = all_ready(world)
    bindings = two_truths(asking)
    made = {uri: contribution(asking, uri, binding) for uri, binding in bindings.items()}
    return opened(world, OpenRequest(asking.binding().encode(), tuple(sealed_seed(uri, each) for uri, each in made.items())))


def opened(world: Nodes, request: OpenRequest) -> Codes:
    world.city.bring(world.opener)
    reply = world.opener.open(request, world.city.now)
    assert reply.opening is None
    return {str(each.reason) for each in reply.refusals}


def contributed(asking: Asking, binding: Binding) -> OpenRequest:
    made = {uri: contribution(asking, uri, binding) for uri in sorted(asking.readys)}
    return OpenRequest(binding.encode(), tuple(sealed_seed(uri, each) for uri, each in made.items()))


def contribution(asking: Asking, uri: str, binding: Binding) -> StoredContribution:
    made = asking.contribute(asking.world.nodes[uri], binding)
    assert isinstance(made, StoredContribution), made
    return made


def sealed_seed(uri: str, made: StoredContribution) -> SealedSeed:
    return SealedSeed(uri, made.sealed, sha256(made.masked).digest(), receipt=made.receipt)


def two_truths(asking: Asking) -> dict[str, Binding]:
    """What each hospital is told, and accepts by itself: the third and fourth hear that the last one does not count."""
    binding = asking.binding()
    uris = binding.counting
    other = replace(binding, counting=uris[:-1], n=len(uris) - 1)
    return {uri: other if at in {2, 3} else binding for at, uri in enumerate(uris)}


# -- the table ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path, 5)
    yield made
    made.close()


@pytest.mark.parametrize("name", LIES)
def test_the_lie_is_refused_for_these_reasons_and_costs_no_more_than_the_ready_said(world: Nodes, name: str) -> None:
    told_ = LIES[name]
    assert told_.tell(world) == told_.reasons
    spent = world.first().answering.journal.spent().get(("surveillance", "2026-10"))
    assert (spent.single if spent else Fraction(0)) == told_.charges * price(world)


def price(world: Nodes) -> Fraction:
    """What one question of these costs, by what the ledger says."""
    view = world.city.view()
    prices = {Fraction(each.statement.charge.price) for facts in view.questions.values() for each in facts.readys.values()}
    return prices.pop() if prices else Fraction(0)


def test_told_different_sets_not_even_the_auditor_s_seeds_leave_a_sum_or_a_hospital_s_vector(world: Nodes) -> None:
    """False alarm: a cell of garbage is small with chance 2 * reach / 2^32 < 1/32, all cells of a vector with less than 10^-15."""
    asking = all_ready(world)
    one, bindings = asking.binding(), two_truths(asking)
    uris = sorted(bindings)
    made = {uri: contribution(asking, uri, binding) for uri, binding in bindings.items()}
    key = world.opener.keys.find(month(world.city.now))
    assert key is not None
    seeds = {uri: key.open(each.sealed, query_context(bindings[uri].value, uri)) for uri, each in made.items()}
    masked = {uri: np.frombuffer(each.masked, f"<u{one.ring // 8}") for uri, each in made.items()}
    streams = {uri: seed_stream_sum([seeds[uri]], one.dimension, one.ring, bindings[uri].value) for uri in made}
    total = np.sum(list(streams.values()), axis=0, dtype=masked[uris[0]].dtype)
    asked = Asked.of(st.parse(asking.entry).statement)  # type: ignore[arg-type]
    limit = reach(len(one.members), one.n, one.c, asked.pieces)
    assert limit * 64 < 2**one.ring
    assert one.dimension > 10
    with pytest.raises(MasksRemain):
        unmask(masked, total, one.ring, limit)
    for uri in uris:  # nor is one hospital's vector in the open once its own stream is off: the pair masks are still on it
        with pytest.raises(MasksRemain):
            unmask({uri: masked[uri]}, streams[uri], one.ring, limit)


def test_told_the_truth_the_same_bytes_are_a_sum(world: Nodes) -> None:
    """The control: without the lie the same computation gives small numbers."""
    asking = all_ready(world)
    binding = asking.binding()
    request, masked = asking.request(binding)
    total = np.frombuffer(asking.open(request), f"<u{binding.ring // 8}")
    asked = Asked.of(st.parse(asking.entry).statement)  # type: ignore[arg-type]
    limit = reach(len(binding.members), binding.n, binding.c, asked.pieces)
    assert abs(unmask(masked, total, binding.ring, limit)).max() <= limit
