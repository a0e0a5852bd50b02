"""From masked vectors to the answer: unmask with the auditor's sum, state the noise, bundle the proofs.

Everything after the unmasking is post-processing of a differentially private release.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from audit_ledger.before import PastLog
from audit_ledger.periods import CARRIED
from audit_ledger.proof import TlogProof
from audit_ledger.tree import inclusion_proof
from audit_ledger.view import LedgerView
from coordinator.ledger import CityLedger
from coordinator.opening import Auditor, OpeningRequest, require_committed
from coordinator.question import Question
from coordinator.register import Contributed
from privacy.filter import encode_charge
from privacy.intervals import Release as NoiseFacts
from privacy.intervals import ReleasedPiece, half_width, statements
from privacy.pricing import reach
from privacy.rdp import share_variance
from privacy.sensitivity import Sensitivity
from privacy.tables import skellam_table
from privacy.union import released_variance
from protocols.answer import Answer, Before, Coverage, Proven, Spending
from protocols.asked import Asked, Piece, variance_text
from protocols.contract import CONTRACT
from protocols.exact import NOT_PRIVATE
from protocols.fits import Evaluated, Training
from protocols.fits.metrics import metrics_of
from protocols.identity import Identity, Role
from protocols.secagg.binding import Binding
from protocols.secagg.masks import unmask, values_hash, vector_hash
from protocols.secagg.ring import Integers, dtype_of
from protocols.statements import Metric, Model, ModelCard, Release


async def unmasked(auditor: Auditor, ledger: CityLedger, asked: Asked, binding: Binding, made: Sequence[Contributed]) -> Integers:
    """The noisy sums of a round. Raises MasksRemain, OpeningRefused, AuditorAway."""
    dtype = dtype_of(binding.ring)
    masked = {each.uri: np.frombuffer(each.masked, dtype) for each in made}
    hashes = {uri: vector_hash(vector) for uri, vector in masked.items()}
    request = OpeningRequest(binding, made, hashes, asked.first_round, asked.last_round)
    opened = await auditor.open(request, ledger)
    require_committed(ledger.view, binding, opened)
    total = np.frombuffer(opened, dtype)
    limit = reach(len(binding.members), binding.n, binding.c, asked.pieces)
    return await asyncio.to_thread(unmask, masked, total, binding.ring, limit)


def release_statement(
    view: LedgerView, question: Question, binding: Binding, answered: tuple[str, ...], values: Integers, by: str, at: str
) -> Release:
    """`binding` is the opened one; `answered` its members, or in a training those of them who stayed."""
    facts = view.questions[question.id.hex()]
    ready, refused = set(facts.readys), set(facts.refusals) & set(question.query.audience)
    return Release(
        log=view.authority.origin,
        at=at,
        by=by,
        query=question.id.hex(),
        round=binding.round,
        attempt=binding.attempt,
        status="released",
        binding=binding.value.hex(),
        values=values_hash(values).hex(),
        answered=answered,
        refused=tuple(sorted(refused - set(answered))),
        away=tuple(sorted(set(question.query.audience) - ready - refused)),
        left_out=tuple(sorted(ready - set(answered) - refused)),
    )


def end_statement(view: LedgerView, question: Question, state: str, by: str, at: str) -> Release:
    """How a question ended that releases nothing."""
    facts = view.questions[question.id.hex()]
    ready, refused = set(facts.readys), set(facts.refusals) & set(question.query.audience)
    return Release(
        log=view.authority.origin,
        at=at,
        by=by,
        query=question.id.hex(),
        round=question.admitted.asked.first_round,
        attempt=max(question.made, default=(0, 0))[1],
        status="failed" if state == "refused" else state,  # type: ignore[arg-type]
        binding=None,
        values=None,
        answered=(),
        refused=tuple(sorted(refused)),
        away=tuple(sorted(set(question.query.audience) - ready - refused)),
        left_out=tuple(sorted(ready)),
    )


def model_statement(view: LedgerView, question: Question, binding: Binding, values: Integers, by: str, at: str) -> Model:
    """The model card of a fit: its hash, its rounds and what it cost a patient of one hospital, or that it is not private."""
    first = next(iter(spending(question.admitted.asked, binding)), None)
    return Model(
        log=view.authority.origin,
        at=at,
        by=by,
        query=question.id.hex(),
        rounds=question.query.rounds,
        model_sha256=values_hash(values).hex(),
        epsilon=first.epsilon if first else NOT_PRIVATE,
        delta=first.delta if first else NOT_PRIVATE,
    )


def card_statement(
    view: LedgerView, question: Question, binding: Binding, answered: tuple[str, ...], values: Integers, by: str, at: str
) -> ModelCard:
    """A study's model card, its metrics made of the released integers and nothing else."""
    asked = question.admitted.asked
    spec, total = asked.spec, released_variance(asked.pieces[0], len(binding.members), binding.n, binding.c)
    assert isinstance(spec, Training)
    found = metrics_of(spec, [int(each) for each in values], variance_text(total)) if isinstance(spec, Evaluated) else ()
    spent = spending(asked, binding)[0]
    return ModelCard(
        log=view.authority.origin,
        at=at,
        by=by,
        query=question.id.hex(),
        rounds=question.query.rounds,
        model_sha256=values_hash(values).hex(),
        study=spec.study.name,
        version=spec.study.version,
        study_sha256=spec.study.sha256,
        table=spec.table,
        catalogue=spec.catalogue,
        answered=answered,
        missing=len(set(question.query.audience) - set(answered)),
        price=encode_charge(question.admitted.price.one),
        epsilon=spent.epsilon,
        delta=spent.delta,
        held_out=spec.held_out if isinstance(spec, Evaluated) else "0",
        metrics=tuple(Metric(name=each.name, value=each.value, low=each.low, high=each.high) for each in found),
    )


def compose_answer(ledger: CityLedger, question: Question, binding: Binding, values: Integers) -> Answer:
    """The bundle, every entry with its proof under the newest checkpoint."""
    view, asked = ledger.view, question.admitted.asked
    facts = view.questions[question.id.hex()]
    opened = facts.openings[binding.round][0]
    ended = facts.release
    assert ended is not None
    statement = ended[1]
    # All of U add a share sized for n - c honest hospitals of K: the sum carries more than was asked for.
    variances = [released_variance(piece, len(binding.members), binding.n, binding.c) for piece in asked.pieces]
    relied_on = _relied_on(binding, question)
    return Answer(
        version=1,
        query=_proven(ledger, facts.index),
        keys=tuple(_proven(ledger, index) for index in _key_indexes(view, relied_on)),
        approvals=tuple(_proven(ledger, index) for index in _approval_indexes(view, question)),
        readys=tuple(_proven(ledger, ledger.index_of(member.ready)) for member in binding.members),
        opening=_proven(ledger, opened),
        receipts=tuple(_proven(ledger, index) for index, _ in sorted(facts.receipts.values(), key=lambda each: each[0])),
        release=_proven(ledger, ended[0]),
        values=tuple(int(value) for value in values),
        total_variances=tuple(variance_text(each) for each in variances),
        half_widths=tuple(half_width(each) for each in variances),
        price=encode_charge(question.admitted.price.one),
        spending=spending(asked, binding),
        before=_before(ledger.past, relied_on, _target(question)),
        card=_proven(ledger, facts.card[0]) if facts.card else None,
        coverage=Coverage(
            answered=statement.answered,
            refused=statement.refused,
            away=statement.away,
            left_out=statement.left_out,
            incomplete=tuple(sorted({uri for _, uri in facts.incidents} - set(statement.away))),
        ),
    )


def spending(asked: Asked, binding: Binding) -> tuple[Spending, ...]:
    """(ε, δ) for each case and each δ, the sampler's own distance included in δ. None in exact mode, which has none."""
    if asked.is_exact:
        return ()
    rounds = asked.query.rounds
    facts = NoiseFacts(
        order=CONTRACT.order,
        pieces=tuple(_piece(piece, binding) for piece in asked.pieces for _ in range(piece.repeats)) * rounds,
        once=tuple(_once(piece, binding) for piece in asked.pieces if piece.once),
        n=binding.n,
        colluders=binding.c,
        members=len(binding.members),
        blocks=len(asked.blocks),
    )
    return tuple(
        Spending(who=each.case.value, epsilon=_text(each.epsilon), delta=_text(each.delta + each.sampler_delta))
        for each in statements(facts)
    )


def _piece(piece: Piece, binding: Binding) -> ReleasedPiece:
    table = skellam_table(share_variance(piece.variance, binding.n, binding.c))
    moved, whole = Sensitivity(piece.l1, piece.l2_squared), Sensitivity(*piece.whole) if piece.whole else None
    draws, distance = piece.length * CONTRACT.attempts, table.distance
    if piece.repeats > 1:  # each local step draws whole noise; the shares are drawn once a round, counted with each of them
        draws, distance = draws + piece.length, max(distance, skellam_table(piece.variance).distance)
    resident = Sensitivity(*piece.resident) if piece.resident else None
    return ReleasedPiece(moved, piece.variance, draws, distance, whole, piece.rate, resident)


def _once(piece: Piece, binding: Binding) -> ReleasedPiece:
    """Its draws are counted already."""
    assert piece.once is not None
    return replace(_piece(piece, binding), sensitivity=Sensitivity(*piece.once), draws=0, rate=Fraction(1))


def _text(value: Fraction) -> str:
    return f"{float(value):.9g}"


def _proven(ledger: CityLedger, index: int) -> Proven:
    return Proven(entry=ledger.entry(index).decode(), proof=ledger.proof(index).decode())


def _before(past: PastLog | None, wanted: set[str], target: str) -> Before | None:
    """Keys, programme and approval that carried over, proved in the log in which they stand."""
    if past is None:
        return None
    places = {*past.view.rules[-1:], *(each[target][0] for each in (past.view.programmes, past.view.approvals) if target in each)}
    return Before(
        keys=tuple(_proven_before(past, index) for index in _key_indexes(past.view, wanted)),
        approvals=tuple(_proven_before(past, index) for index in sorted(places - {CARRIED})),
        before=_before(past.before, wanted, target),
    )


def _proven_before(past: PastLog, index: int) -> Proven:
    reader = past.reader
    [entry] = reader.read_entries(index, index + 1)
    path = inclusion_proof(index, past.view.size, reader.read_hash)
    return Proven(entry=entry.decode(), proof=TlogProof(index, tuple(path), past.note).encode().decode())


def _relied_on(binding: Binding, question: Question) -> set[str]:
    """Whose signatures the bundle relies on, beside auditor and coordinator."""
    return {question.query.by, *(member.uri for member in binding.members)}


def _key_indexes(view: LedgerView, wanted: set[str]) -> list[int]:
    """Entry 0 and the entries of every key whose signature the bundle relies on."""
    roles = (Role.AUDITOR, Role.COORDINATOR)
    keys = view.authority.keys.values()
    relied = {each.since for each in keys if each.subject in wanted or Identity.parse(each.subject).role in roles}
    return sorted({0, *relied})


def _approval_indexes(view: LedgerView, question: Question) -> list[int]:
    """The approval with its programme, and the rule that says how many sign it; an emergency has none."""
    target = _target(question)
    programme = [view.programmes[target][0]] if target in view.programmes else []
    if question.query.purpose == "outbreak":
        return programme
    approval = view.approvals[target][0]
    rule = [each for each in view.rules if each < approval][-1:]
    return [each for each in (*rule, *programme, approval) if each != CARRIED]


def _target(question: Question) -> str:
    """What an approval of this question names: its programme, or itself."""
    query = question.query
    return query.programme if query.purpose == "surveillance" and query.programme else question.id.hex()
