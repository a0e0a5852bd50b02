"""Model cards: rules that a card keeps, checked from the ledger alone; with an answer at hand, its figures made again.

Rules
 1. A card names a logged training, once, and repeats its study, rounds and table as they were asked.
 2. Its price and its epsilon are the auditor's own arithmetic from the signed question, and so is what it says of held-out
    patients. Its delta is the city's, with the sampler's own distance, which is far less.
 3. It tells metrics only of a training that was asked with held-out patients.
 4. Every hospital that was asked answered or is missing. The release behind it is of the same hospitals and the same integers.
"""

from collections.abc import Iterator
from typing import Any

from audit_ledger import cost
from audit_ledger.answer_figures import hash_of
from audit_ledger.facts import QuestionFacts
from audit_ledger.findings import Finding, Rule
from protocols.answer import Answer
from protocols.asked import Asked
from protocols.contract import CONTRACT
from protocols.errors import ProtocolError
from protocols.fits import Evaluated, Training
from protocols.fits.metrics import Measured, metrics_of
from protocols.query import QueryError
from protocols.statements import ModelCard, Query, Release, Signed

_LAST_PLACE = 1.5e-6
"""Two machines' logarithms may differ by the last of six places."""
_OF_DELTA = 0.01
"""How much of delta the sampler's distance, and nine digits, may be."""


def card_findings(index: int, facts: QuestionFacts, card: ModelCard) -> Iterator[Finding]:
    if facts.card is not None:
        yield Finding(index, Rule.MODEL, "a second card of one training")
    for what in _misstated(facts, card):
        yield Finding(index, Rule.MODEL, f"its {what} is not the training's")


def _misstated(facts: QuestionFacts, card: ModelCard) -> Iterator[str]:
    try:
        asked = Asked.of(facts.query)
    except (ProtocolError, QueryError):
        return  # the question itself is a finding
    spec = asked.spec
    if not isinstance(spec, Training):
        yield "question"
        return
    is_of_audience = set(card.answered) <= set(asked.query.audience)
    study, epsilon = (spec.study.name, spec.study.version, spec.study.sha256), cost.epsilon(asked)
    told = {
        "study": (study, (card.study, card.version, card.study_sha256)),
        "rounds": (asked.query.rounds, card.rounds),
        "table": ((spec.table, spec.catalogue), (card.table, card.catalogue)),
        "price": (cost.price(asked), card.price),
        "held-out share": (held_out_of(spec), card.held_out),
        "list of hospitals": (True, is_of_audience),
        "number of missing hospitals": (len(asked.query.audience) - len(card.answered), card.missing),
        "epsilon": (True, _is_within(card.epsilon, epsilon - _LAST_PLACE, epsilon + _LAST_PLACE)),
        "delta": (True, _is_within(card.delta, (1 - _OF_DELTA) * float(CONTRACT.delta), (1 + _OF_DELTA) * float(CONTRACT.delta))),
    }
    yield from (what for what, (expected, got) in told.items() if expected != got)
    if card.metrics and not spec.is_evaluated:
        yield "list of metrics"


def _is_within(text: str, low: float, high: float) -> bool:
    try:
        return low <= float(text) <= high
    except ValueError:
        return False


def release_findings(index: int, facts: QuestionFacts, release: Release) -> Iterator[Finding]:
    """What the card before a release says of it."""
    if facts.card is None or release.status != "released":
        return
    at, card = facts.card
    if card.answered != release.answered:
        yield Finding(index, Rule.MODEL, f"its card at entry {at} names other hospitals than answered")
    if card.model_sha256 != release.values:
        yield Finding(index, Rule.MODEL, f"its card at entry {at} is of another model than was released")


def held_out_of(spec: Training) -> str:
    return spec.held_out if isinstance(spec, Evaluated) else "0"


def is_due(query: Query) -> bool:
    """Whether an answer of this question has to hold its card: those of before there were cards need none."""
    return (
        query.spec.get("fit") in ("dp_sgd", "dp_fedavg") and query.spec.get("version") != Training.model_fields["version"].default
    )


def answer_findings(asked: Signed, query: Query, card: ModelCard, answer: Answer) -> Iterator[str]:
    """What a card says that its question or the released integers do not."""
    yield from (each.detail for each in card_findings(0, QuestionFacts(0, asked.id, query, asked.entry), card))
    if card.query != asked.hex_id:
        yield "is of another question"
    if card.model_sha256 != hash_of(answer.values):
        yield "is of another model than was released"
    if card.answered != answer.coverage.answered:
        yield "names other hospitals than answered"
    found = _metrics(answer, query)
    if [each.name for each in card.metrics] != [each.name for each in found]:
        yield "tells other metrics than the released counts"
        return
    for told, made in zip(card.metrics, found, strict=True):
        ends = ((told.value, made.value), (told.low, made.low), (told.high, made.high))
        if any(abs(float(one) - float(other)) > _LAST_PLACE for one, other in ends):
            yield f"tells another {told.name} than the released counts"


def _metrics(answer: Answer, query: Query) -> tuple[Measured, ...]:
    try:
        spec = Asked.of(query).spec
        return metrics_of(spec, answer.values, answer.total_variances[0]) if isinstance(spec, Evaluated) else ()
    except (ProtocolError, QueryError, ValueError, IndexError):
        return ()  # values or variances that do not fit the question are a problem of their own


def card_json(card: ModelCard) -> dict[str, Any]:
    """A card without what every statement has."""
    return card.model_dump(mode="json", exclude={"log", "by"})
