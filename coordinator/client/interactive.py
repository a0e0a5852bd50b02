"""What `import kapok` gives to a person at a prompt or in a notebook: questions and models by name, progress, resuming by id.

import kapok
with kapok.connect("bureau") as city:
    answer = city.query("SELECT week, COUNT(*) FROM visits WHERE ... GROUP BY week", sd=20)
    model = city.fit("logistic", table="heart", y="sick=yes", x=["age", "sex=male"])
    print(model.summary())
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from audit_ledger.bundle import verify_answer
from audit_ledger.party.home import Home
from coordinator.client import segments, training
from coordinator.client.catalog import ColumnCard, RegisteredCard
from coordinator.client.city import Answer, City, Request, Watcher, noise_of
from coordinator.client.desk import Desk
from coordinator.client.errors import BadUsage
from coordinator.client.model import Model
from coordinator.client.question import read_question
from coordinator.client.session import Session, Waiting
from coordinator.client.settings import Settings
from coordinator.client.texts import Say, language
from protocols.errors import MalformedBytes
from protocols.fits import Category, Fit, Numeric, Variable, of_fields

Column = Variable | str


def number(column: str, low: float | str, high: float | str, unit: str = "") -> Numeric:
    """A numeric column with its public bounds, to which every value is clamped. Raises ValueError."""
    return Numeric(column=column, low=_plain(low), high=_plain(high), unit=unit)


def category(column: str, value: str) -> Category:
    """1 where the row's column has this value of its public list, else 0. Raises ValueError."""
    return Category(column=column, category=value)


class InteractiveCity(City):
    """A city whose questions show how far they are, on stderr, where somebody is there to read it (or `progress=True`)."""

    def query(
        self,
        sql: str,
        *,
        sd: float | None = None,
        epsilon: float | None = None,
        price: float | None = None,
        programme: str | None = None,
        purpose: str = "research",
        exact: bool = False,
        hospitals: Sequence[str] = (),
        progress: bool | None = None,
    ) -> Answer:
        """SQL (or the name of a .sql, .toml or .json file) to a verified answer, blocking. `exact`: without noise, not private."""
        request = Request(read_question(sql), noise_of(sd, epsilon, price), programme, purpose, hospitals, is_exact=exact)
        id_, envelope = self.sign(self.plan(request))
        with _shown(id_, progress) as watch:
            return self.send(id_, envelope, watch)

    def fit(
        self,
        kind: str,
        *,
        table: str,
        catalogue: str | None = None,
        y: Column | None = None,
        x: Sequence[Column] = (),
        rounds: int | None = None,
        sd: float | None = None,
        price: float | None = None,
        exact: bool = False,
        hospitals: Sequence[str] = (),
        progress: bool | None = None,
        **more: Any,
    ) -> Model:
        """A model over a registered table, blocking until the auditor has approved it and its rounds are over.

        Columns are `"age"` and `"sex=male"`, with the bounds that the hospitals declare, or `number(...)` and `category(...)`.
        `more` are the further fields of its kind (`period`, `rows_per_patient`, `edges`, `groups` …: the reference of fits).
        `exact`: without noise, and not private. `hospitals`: only these.
        Interrupted, it goes on in the city: `fetch(id)` has it later. Raises BadUsage, NotGiven, Unverified, Unreachable.
        """
        terms = [each for each in (y, *x) if each is not None]
        card = self.catalog().registered(table) if catalogue is None or any(isinstance(each, str) for each in terms) else None
        head = {"table": table, "catalogue": catalogue or (card.catalogue if card else "")}
        outcome = {} if y is None else {"outcome": _term(y, card)}
        features = {"features": [_term(each, card) for each in x]} if x else {}
        spec = _spec(kind, {**head, **outcome, **features, **more})
        spent = "" if price is None else _plain(price)
        asked = segments.statements_of(self, spec, rounds, sd, spent, exact=exact, hospitals=hospitals)
        return self._trained(segments.sign(self, asked), progress, is_new=True)

    def fetch(self, start: str, progress: bool | None = None) -> Answer | Model:
        """The answer or model of a question asked before, by its id or the beginning of it: stored, or waited for."""
        id_ = self.shelf.full_id(start)
        asked = self.shelf.question(id_)
        is_fit = asked is not None and training.is_fit_question(asked)
        if is_fit:
            return self._trained(self.shelf.training(id_), progress)
        if id_ in self.shelf.answers():
            return self.answer(id_)
        with _shown(id_, progress) as watch:
            return self.resume(id_, watch)

    def _trained(self, ids: Sequence[str], progress: bool | None, *, is_new: bool = False) -> Model:
        with _shown(ids[0], progress) as watch:
            found = segments.outcome(self, ids, watch, is_new=is_new)
        return Model(found.fitted, found.stopped)


def connect(home: str | Path, clock: Callable[[], float] = time.time) -> InteractiveCity:
    """The city that `kapok init --home` has enrolled this folder in. Raises HomeError if it has not."""
    place = Home(Path(home))
    settings, trust = Settings.read(place), place.trust()
    return InteractiveCity(place, settings, Desk.connect(place, settings), trust, verify_answer, clock)


def _spec(kind: str, fields: dict[str, Any]) -> Fit:
    try:
        return of_fields({"fit": kind, **fields})
    except MalformedBytes as error:
        raise BadUsage("error.fit", why=str(error)) from None


def _term(given: object, card: RegisteredCard | None) -> dict[str, Any]:
    if isinstance(given, str) and card is not None:
        given = _declared(given, card)
    if not isinstance(given, Numeric | Category):
        raise BadUsage("error.fit", why=f"{given!r}: a column, kapok.number(column, low, high) or kapok.category(column, value)")
    return given.model_dump(mode="json")


def _declared(text: str, card: RegisteredCard) -> Variable:
    name, is_category, value = text.partition("=")
    column = card.column(name.strip())
    if not is_category and column.type == "number":
        return number(column.name, column.low, column.high, column.unit)
    if value.strip() not in column.categories:
        raise BadUsage("error.fit", why=f"{text!r}: {column.name} is {column.type}; write {_written(column)}")
    return category(column.name, value.strip())


def _written(column: ColumnCard) -> str:
    return column.name if column.type == "number" else " or ".join(f"{column.name}={each}" for each in column.categories)


def _plain(given: float | str) -> str:
    """The decimal that a person typed, in its one spelling."""
    text = format(Decimal(str(given)).normalize(), "f")
    return "0" if text == "-0" else text


@contextmanager
def _shown(id_: str, progress: bool | None) -> Iterator[Watcher]:
    is_quiet = not (sys.stderr.isatty() if progress is None else progress)
    session = Session(Say(language(None, os.environ)), connect)
    if not is_quiet:
        session.note("progress.asked", id=id_)
    with Waiting(session, is_quiet) as waiting:
        yield waiting.watch
