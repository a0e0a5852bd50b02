"""Bytes and fields that nobody honest would send: whatever comes, only refusals, findings and typed errors come out."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from audit_ledger.bundle import NotAnAnswer, verify_answer
from audit_ledger.errors import LedgerError
from audit_ledger.follower import Follower
from audit_ledger.gate import Gate
from audit_ledger.opener import OpenRequest
from audit_ledger.view import LedgerView
from protocols import statements as st
from protocols.answer import Proven
from protocols.canonical import b64, encode_json
from protocols.dsse import Envelope
from protocols.errors import MalformedBytes
from protocols.identity import SigningKey
from protocols.statements import parse
from tests.support.city import City, Question
from tests.support.trained import Trained

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    2**53 - 1,
    "",
    "x",
    "0" * 64,
    "0000-00",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z",
    "999999999999999999.999999999",
    "kapok://hospital/none",
    "\u200b",
    b64(b""),
    b64(bytes(32)),
    b64(bytes(33)),
    b64(bytes(64)),
    [],
    {},
    [[]],
]


@dataclass
class World:
    """One question that was answered, one with a request that nobody has opened yet."""

    city: City
    waiting: Question
    request: OpenRequest
    answer: bytes
    entries: list[bytes]

    def signer(self, statement: st.Statement) -> list[SigningKey]:
        city = self.city
        match statement:
            case st.Root():
                return [city.coordinator, city.root]
            case st.KeyAdd():
                return [city.root]
            case st.Opening():
                return [city.service]
        if statement.by in city.hospitals:
            return [city.hospitals[statement.by].identity]
        return [{"bureau": city.bureau, "auditor": city.approval, "coordinator": city.coordinator}[statement.by.split("/")[2]]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    city = City(tmp_path_factory.mktemp("fuzz"))
    opener = city.opener()
    answered, waiting = Question(city, opener), Question(city, opener, blocks=("2026-09",))
    answer = answered.answer(answered.live())
    waiting.all_ready()
    city.bring(opener)
    entries = city.log.entries(0, city.log.size)
    yield World(city, waiting, waiting.request(), answer.model_dump_json().encode(), entries)
    city.close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A training with its model card, which no other question has."""
    made = Trained(tmp_path_factory.mktemp("trained"))
    yield made
    made.city.close()


@some.composite
def mutation(draw: some.DrawFn) -> Any:
    """Changes some bytes: flips, cuts, repeats, inserts."""
    steps = draw(
        some.lists(
            some.tuples(some.sampled_from("fcri"), some.floats(0, 1), some.binary(min_size=1, max_size=4)), min_size=1, max_size=3
        )
    )

    def mutate(raw: bytes) -> bytes:
        for how, where, what in steps:
            at = int(where * max(0, len(raw) - 1))
            match how:
                case "f":
                    raw = raw[:at] + what[:1] + raw[at + 1 :]
                case "c":
                    raw = raw[:at] + raw[at + what[0] :]
                case "r":
                    raw = raw[:at] + raw[max(0, at - what[0]) :]
                case _:
                    raw = raw[:at] + what + raw[at:]
        return raw

    return mutate


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in found:
        yield from places(each, (*path, name))


def with_value(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    made = copy.deepcopy(value)
    holder = made
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = odd
    return made


@MANY
@given(mutate=mutation(), which=some.integers(0, 10**6))
def test_any_bytes_are_an_entry_with_findings_or_without(world: World, mutate: Any, which: int) -> None:
    view = LedgerView(world.city.trust.entry0)
    for entry in world.entries[:8]:
        view.apply(entry)
    view.apply(mutate(world.entries[which % len(world.entries)]))
    assert view.size == 9


@pytest.mark.parametrize(
    "kind", ["root", "key", "policy", "programme", "approval", "query", "ready", "opening", "receipt", "release"]
)
def test_a_signed_statement_with_an_odd_value_anywhere_is_judged_and_never_crashes_the_replay(world: World, kind: str) -> None:
    """Signed by its true author, so that the rules behind the signature are reached."""
    _judge_odd_values(world.city, world.entries, kind, world.signer)


def test_a_signed_model_card_with_an_odd_value_anywhere_is_judged_and_never_crashes_the_replay(trained: Trained) -> None:
    entries = trained.city.log.entries(0, trained.city.log.size)
    _judge_odd_values(trained.city, entries, "model-card", lambda _: [trained.city.coordinator])


def _judge_odd_values(city: City, entries: list[bytes], kind: str, signer: Callable[[st.Statement], list[SigningKey]]) -> None:
    at = next(at for at, entry in enumerate(entries) if parse(entry).statement.kind == kind)
    before = LedgerView(city.trust.entry0)
    for entry in entries[:at]:
        before.apply(entry)
    statement = parse(entries[at]).statement
    payload, counted = statement.model_dump(mode="json"), 0
    for path in places(payload):
        for odd in ODD:
            made = Envelope(statement.payload_type(), encode_json(with_value(payload, path, odd)))
            entry = made.signed(signer(statement)).encode()
            view = copy.deepcopy(before)
            view.apply(entry)
            assert view.size == at + 1
            counted += _is_statement(entry)
    assert counted > 3, "some odd values must pass the parser, or nothing behind it was tried"


def _is_statement(entry: bytes) -> bool:
    try:
        parse(entry)
    except MalformedBytes:
        return False
    return True


def test_a_payload_is_accepted_in_its_canonical_spelling_alone(world: World) -> None:
    for entry in world.entries:
        payload, kind = parse(entry).envelope.payload, type(parse(entry).statement)
        assert kind.from_payload(payload).envelope().payload == payload
        for other in (b" " + payload, payload + b"\n", payload.replace(b":", b": ", 1), payload.replace(b'"at"', b'"\\u0061t"', 1)):
            with pytest.raises(MalformedBytes, match="spelling"):
                kind.from_payload(other)
        fields = list(json.loads(payload).items())
        with pytest.raises(MalformedBytes, match="spelling"):
            kind.from_payload(json.dumps(dict(reversed(fields)), separators=(",", ":")).encode())


@MANY
@given(mutate=mutation(), in_note=some.booleans(), which=some.integers(0, 10**6), start=some.integers(-3, 2**63))
def test_a_mutated_follow_is_refused_with_a_ledger_error_and_changes_nothing(
    world: World, mutate: Any, in_note: bool, which: int, start: int
) -> None:
    _, entries, note = world.city.follow(0)
    follower, opener = Follower(world.city.trust), world.waiting.opener
    if in_note:
        note = mutate(note)
    else:
        at = which % len(entries)
        entries = [*entries[:at], mutate(entries[at]), *entries[at + 1 :]]
    for first in (0, start):
        try:
            follower.follow(first, entries, note, world.city.now)
        except LedgerError:
            assert follower.size == 0
        else:
            assert follower.size == len(entries)
            follower = Follower(world.city.trust)
    size = opener.size
    assert isinstance(opener.follow(start, entries, note, world.city.now), list)
    assert opener.size == size


@MANY
@given(mutate=mutation(), in_proof=some.booleans())
def test_a_mutated_offer_is_refused_by_the_gate(world: World, mutate: Any, in_proof: bool) -> None:
    entry = world.waiting.entry
    proof = world.city.prove(entry)
    gate = Gate(world.waiting.opener.gate.follower, None)
    lied, shown = (entry, mutate(proof)) if in_proof else (mutate(entry), proof)
    passage = gate.pass_query(lied, shown, world.city.now)
    assert passage.refusals or (lied, shown) == (entry, proof)


@MANY
@given(
    mutate=mutation(), which=some.sampled_from(["preimage", "sealed", "masked_hash", "receipt", "round_signature", "uri", "rounds"])
)
def test_a_mutated_request_is_refused_by_the_opener(world: World, mutate: Any, which: str) -> None:
    request, first = world.request, world.request.seeds[0]
    match which:
        case "preimage":
            lied = replace(request, preimage=mutate(request.preimage))
        case "rounds":
            lied = replace(request, first_round=len(mutate(b"0")), last_round=int.from_bytes(mutate(b"0" * 7)[:8], "big"))
        case "uri":
            lied = replace(
                request, seeds=(replace(first, uri=mutate(first.uri.encode()).decode("utf-8", "replace")), *request.seeds[1:])
            )
        case _:
            changes = {which: mutate(getattr(first, which))}
            lied = replace(request, seeds=(replace(first, **changes), *request.seeds[1:]))
    reply = world.waiting.opener.open(lied, world.city.now)
    # Only what a plain query does not use may be changed without a refusal.
    assert reply.refusals or lied == request or which == "round_signature"


@MANY
@given(mutate=mutation())
def test_a_mutated_answer_file_is_no_answer_or_has_a_report(world: World, mutate: Any) -> None:
    try:
        verify_answer(mutate(world.answer), world.city.trust, world.city.now)
    except NotAnAnswer:
        return


@MANY
@given(mutate=mutation(), is_card=some.booleans())
def test_a_mutated_answer_of_a_training_is_no_answer_or_has_a_report(trained: Trained, mutate: Any, is_card: bool) -> None:
    answer = trained.answer(trained.proven(trained.card))
    raw = answer.model_dump_json().encode()
    if is_card:
        assert answer.card is not None
        entry = mutate(answer.card.entry.encode()).decode("utf-8", "replace")
        raw = answer.model_copy(update={"card": Proven(entry=entry, proof=answer.card.proof)}).model_dump_json().encode()
    try:
        report = verify_answer(raw if is_card else mutate(raw), trained.city.trust, trained.city.now)
    except NotAnAnswer:
        return
    assert not is_card or entry == answer.card.entry or any(each.place == "card" for each in report.problems)


def test_an_odd_value_anywhere_in_the_card_of_an_answer_is_no_answer_or_a_problem_of_the_card(trained: Trained) -> None:
    """Of its envelope and proof; and within the statement, which its author signed and whose proof is another entry's then."""
    answer = trained.answer(trained.proven(trained.card))
    assert answer.card is not None
    fields, payload, lied = answer.model_dump(mode="json"), trained.card.model_dump(mode="json"), []
    for path in places({"card": fields["card"]}):
        lied += [with_value(fields, path, odd) for odd in [*ODD, -(2**63), 10**30, 10**400]]
    for path in places(payload):
        for odd in ODD:
            made = Envelope(trained.card.payload_type(), encode_json(with_value(payload, path, odd)))
            entry = made.signed([trained.city.coordinator]).encode().decode()
            lied.append({**fields, "card": {"entry": entry, "proof": answer.card.proof}})
    for each in lied:
        try:
            report = verify_answer(json.dumps(each).encode(), trained.city.trust, trained.city.now)
        except NotAnAnswer:
            continue
        assert each == fields or any(problem.place == "card" for problem in report.problems)


@pytest.mark.parametrize(
    "name",
    [
        "query",
        "keys",
        "approvals",
        "readys",
        "opening",
        "receipts",
        "release",
        "values",
        "total_variances",
        "half_widths",
        "price",
        "spending",
        "coverage",
    ],
)
def test_an_odd_value_anywhere_in_an_answer_is_no_answer_or_has_a_report(world: World, name: str) -> None:
    answer = json.loads(world.answer)
    for path in places({name: answer[name]}):
        if len(path) > 1 and isinstance(path[1], int) and path[1] > 0:
            continue  # the first of a list stands for all
        for odd in [*ODD, -(2**63), 10**30, 10**400]:
            try:
                verify_answer(json.dumps(with_value(answer, path, odd)).encode(), world.city.trust, world.city.now)
            except NotAnAnswer:
                continue
