"""A training of more rounds than one question may have: segments that follow one another, signed together and asked together.

Each segment is a question of its own, with its own approval, price, Readys and receipts; it names the one before (`after`), whose
released weights are its start. The whole is priced before anything is sent, at one noise in all rounds. All segments are in the
city from the beginning: the auditor sees the whole, and the training goes on when this program has ended. It stops by itself where
a segment ends without a release (a budget that is used up, a refusal): the segments behind it then have no start, and cost nothing.
What was released by then is the model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from coordinator.client import training
from coordinator.client.city import City, Watcher
from coordinator.client.desk import State, Step
from coordinator.client.errors import BadUsage, NotGiven
from privacy.filter import encode_charge
from privacy.pricing import price as price_of
from protocols.asked import Asked
from protocols.contract import CONTRACT
from protocols.fit import FitSpec
from protocols.fits import Fit, Training
from protocols.statements import Query

MOST_ROUNDS = 40 * CONTRACT.segment_rounds
UNKNOWN = "error.not_known"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last segment that was released, and what ended the one behind it; None where all are."""

    fitted: training.Fitted
    released: int
    ids: tuple[str, ...]
    stopped: NotGiven | None = None

    def to_json(self) -> dict[str, Any]:
        if len(self.ids) == 1:
            return self.fitted.to_json()
        told = {} if self.stopped is None else {"stopped": [each.model_dump() for each in self.stopped.reasons]}
        return {**self.fitted.to_json(), "segments": list(self.ids), "segments_released": self.released, **told}


def statements_of(
    city: City,
    spec: FitSpec | Fit,
    rounds: int | None,
    sd: float | None = None,
    price: str = "",
    *,
    exact: bool = False,
    hospitals: Sequence[str] = (),
    segment: int = CONTRACT.segment_rounds,
) -> list[Query]:
    """The questions of a fit: one, or a training's segments. Raises BadUsage, also where all together are beyond any budget."""
    if rounds is None or rounds <= segment or not isinstance(spec, Training):
        return [training.fit_statement(city, spec, rounds, sd, price, exact=exact, hospitals=hospitals)]
    found: list[Query] = []
    whole = training.price_of_all(price)
    for length in lengths(rounds, segment):
        share = "" if sd is not None else str(whole * length / rounds)
        found.append(training.fit_statement(city, spec, length, sd, share, exact=exact, hospitals=hospitals))
        spec = spec.model_copy(update={"after": id_of(found[-1]), "spread": "0"})
    cost = sum((price_of(CONTRACT.order, Asked.of(each).pieces, each.rounds).one for each in found), Fraction(0))
    if cost > CONTRACT.limit("research"):
        raise BadUsage("error.rounds_price", cost=encode_charge(cost), limit=f"{float(CONTRACT.limit('research')):.4f}")
    return found


def lengths(rounds: int, longest: int = CONTRACT.segment_rounds) -> list[int]:
    """As few segments as there can be, as even as they can be."""
    many = -(-rounds // longest)
    return [rounds // many + (place < rounds % many) for place in range(many)]


def id_of(statement: Query) -> str:
    return statement.envelope().statement_id().hex()


def sign(city: City, statements: Sequence[Query]) -> list[str]:
    """Their ids in order; all are on the disk before the first is sent, so that any of them finds the others again."""
    ids = [city.sign_statement(each)[0] for each in statements]
    if len(ids) > 1:
        city.shelf.keep_training(ids)
    return ids


def steps_of(city: City, id_: str, *, is_new: bool = False) -> Iterator[Step]:
    """Its life: asked as it was signed where it is new, else watched; asked also where the city does not know it.

    Raises NotGiven.
    """
    envelope = city.shelf.question(id_)
    if is_new and envelope is not None:
        yield from city.steps(id_, envelope)
        return
    try:
        yield from city.steps(id_)
    except NotGiven as no:
        if no.text_id != UNKNOWN or envelope is None:
            raise
        yield from city.steps(id_, envelope)


def submit(city: City, ids: Sequence[str], *, is_new: bool = False) -> None:
    """Brings into the city what is not there yet, in order: a segment has to find the one before. Raises NotGiven for the first."""
    for id_ in ids:
        if id_ in city.shelf.answers():
            continue
        step = next(
            (each for each in steps_of(city, id_, is_new=is_new) if each.is_last or each.state is not State.SUBMITTED), None
        )
        if step is not None and step.is_last and step.state is not State.RELEASED:
            if id_ == ids[0]:
                raise NotGiven(f"ended.{step.state}", reasons=step.reasons, id=id_)
            return  # the ones behind it would have no start


def outcome(
    city: City, ids: Sequence[str], watch: Watcher, begins: Callable[[int], None] = lambda _: None, *, is_new: bool = False
) -> Outcome:
    """Follows the segments to the end, or to where the training stopped. Raises NotGiven where not even the first was released."""
    if len(ids) > 1:
        submit(city, ids, is_new=is_new)
        is_new = False
    found: list[training.Fitted] = []
    for id_ in ids:
        begins(len(found))
        try:
            found.append(_fitted(city, id_, watch, is_new=is_new))
        except NotGiven as ended:
            if not found:
                raise
            return Outcome(found[-1], len(found), tuple(ids), ended)
    return Outcome(found[-1], len(found), tuple(ids))


def _fitted(city: City, id_: str, watch: Watcher, *, is_new: bool) -> training.Fitted:
    if id_ in city.shelf.answers():
        return training.fitted(city.shelf.answer(id_), id_, city)
    return training.received(city, id_, steps_of(city, id_, is_new=is_new), watch)
