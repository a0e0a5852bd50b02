"""The city as the program and the Python side have it: plan a question, ask it, follow it, and have its answer once it is verified.

What a person calls from Python is in `interactive`.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from audit_ledger.bundle import verify_answer
from audit_ledger.party.home import Home
from audit_ledger.policy import TrustFile
from coordinator.client.catalog import Catalog
from coordinator.client.checked import Verified, Verifier, verified
from coordinator.client.coverage import of_the_absent
from coordinator.client.desk import Desk, State, Step
from coordinator.client.errors import BadUsage, NotGiven, Unreachable, Unverified
from coordinator.client.forecast import ByEpsilon, ByPrice, BySd, Forecast, Noise, exact_forecast, forecast, usual_noise
from coordinator.client.settings import Settings
from coordinator.client.shelf import Shelf
from coordinator.client.table import AnswerTable
from coordinator.client.texts import ENGLISH
from protocols.asked import variance_text
from protocols.clock import stamp
from protocols.contract import CONTRACT, PURPOSES
from protocols.exact import as_exact
from protocols.query import QuerySpec
from protocols.statements import Programme, Query

if TYPE_CHECKING:
    import pyarrow

Watcher = Callable[[Step], None]
HOUR_S, DAY_S = 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Request:
    """What a person wants asked. `programme` (an id's beginning or a title) sets the purpose; noise None is the usual one.

    `is_exact`: without noise, and not private; a research question under no programme.
    """

    spec: QuerySpec
    noise: Noise | None = None
    programme: str | None = None
    purpose: str = "research"
    hospitals: Sequence[str] = ()
    floor: int | None = None
    valid_s: int | None = None
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A request against today's catalogue: everything the statement will say but its nonce and time, and what it will cost."""

    request: Request
    catalog: Catalog
    purpose: str
    programme: str | None
    audience: tuple[str, ...]
    floor: int
    valid_s: int
    forecast: Forecast


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Answer:
    """A verified answer."""

    verified: Verified

    @property
    def id(self) -> str:
        return self.verified.id

    @property
    def cells(self) -> AnswerTable:
        return self.verified.cells

    @property
    def values(self) -> Mapping[str, list[float]]:
        """Per measure, row-major over the keys."""
        return {column.name: column.values.tolist() for column in self.cells.columns}

    @property
    def interval(self) -> Mapping[str, list[tuple[float, float]]]:
        """Per measure, the 95 % noise interval of each cell."""
        return {each.name: list(zip(each.lower.tolist(), each.upper.tolist(), strict=True)) for each in self.cells.columns}

    def table(self) -> "pyarrow.Table":
        from coordinator.client.export import arrow_table  # here, with the library that only files need

        return arrow_table(self.cells)

    def to_pandas(self) -> Any:
        """A DataFrame, a row a cell. Needs pandas (the extra of that name)."""
        return self.table().to_pandas()

    def __repr__(self) -> str:
        from coordinator.client import render  # reads this module

        return render.as_text(render.answer(self.verified, ENGLISH))


class City:
    """One bureau's connection. Close it, or use it as a context."""

    def __init__(
        self, home: Home, settings: Settings, desk: Desk, trust: TrustFile, verify: Verifier, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings, self.shelf = settings, Shelf(home)
        self._home, self._desk, self.trust, self._verify, self._clock = home, desk, trust, verify, clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._desk.__exit__()

    def now(self) -> int:
        """The client's clock, in seconds."""
        return int(self._clock())

    def catalog(self) -> Catalog:
        return Catalog.read(self._desk.catalog())

    def catalog_json(self) -> dict[str, Any]:
        """The catalogue with every field that the coordinator told, also those this program does not know."""
        raw = self._desk.catalog()
        Catalog.read(raw)
        told: dict[str, Any] = json.loads(raw)
        return told

    def plan(self, request: Request) -> Plan:
        """Raises BadUsage where the request does not fit the city."""
        if request.is_exact:
            _require_exact(request)
        catalog = self.catalog()
        programme = catalog.programme(request.programme) if request.programme else None
        purpose = programme.purpose if programme else request.purpose
        if purpose not in PURPOSES:
            raise BadUsage("error.purpose", purpose=purpose, known=", ".join(PURPOSES))
        audience = catalog.audience(request.hospitals)
        floor = request.floor or max(catalog.floor(audience), CONTRACT.exact_floor if request.is_exact else 0)
        if len(audience) < floor:
            raise BadUsage("error.floor", n=len(audience), floor=floor)
        cast = (
            exact_forecast(request.spec, len(audience))
            if request.is_exact
            else forecast(request.spec, request.noise or usual_noise(request.spec, purpose), len(audience))
        )
        # A question that a person must approve first waits for days, a programme's for its hospitals alone.
        valid_s = request.valid_s or (HOUR_S if programme else 7 * DAY_S)
        return Plan(request, catalog, purpose, programme.id if programme else None, audience, floor, valid_s, cast)

    def statement(self, plan: Plan) -> Query:
        """The question, with a fresh nonce and the time of now."""
        now = int(self._clock())
        return Query(
            log=self.settings.origin,
            at=stamp(now),
            by=self.settings.uri,
            nonce=os.urandom(32).hex(),
            purpose=plan.purpose,
            programme=plan.programme,
            audience=plan.audience,
            floor=plan.floor,
            valid_until=stamp(now + plan.valid_s),
            rounds=1,
            spec=as_exact(plan.request.spec.to_json()) if plan.request.is_exact else plan.request.spec.to_json(),
            variances=tuple(variance_text(variance) for variance in plan.forecast.variances),
        )

    def ask(self, plan: Plan, watch: Watcher = lambda _: None) -> Answer:
        """Signs, asks, follows, verifies. Raises NotGiven, Unverified or Unreachable; `watch` hears every step."""
        id_, envelope = self.sign(plan)
        return self.send(id_, envelope, watch)

    def sign(self, plan: Plan) -> tuple[str, bytes]:
        """The question's id and its signed bytes, on disk: a crash from here on leaves an id to resume by."""
        return self.sign_statement(self.statement(plan))

    def sign_statement(self, statement: Query) -> tuple[str, bytes]:
        envelope = statement.envelope().signed([self._home.key("identity")])
        id_, raw = envelope.statement_id().hex(), envelope.encode()
        self.shelf.keep_question(id_, raw)
        return id_, raw

    def released(self, steps: Iterator[Step], id_: str, watch: Watcher) -> bytes:
        """The bundle's bytes, unverified. Raises NotGiven with every reason."""
        for step in steps:
            watch(step)
            if step.is_last:
                if step.state is not State.RELEASED:
                    raise NotGiven(f"ended.{step.state}", reasons=step.reasons, id=id_)
                self.shelf.keep_reasons(id_, step.reasons)
                return step.answer
        raise Unreachable("error.stream_ended")

    def steps(self, id_: str, envelope: bytes | None = None) -> Iterator[Step]:
        """The question's life: asked with its envelope, or watched by its id."""
        return self._desk.ask(envelope) if envelope is not None else self._desk.watch(id_)

    def send(self, id_: str, envelope: bytes, watch: Watcher = lambda _: None) -> Answer:
        return self._followed(id_, self._desk.ask(envelope), watch)

    def resume(self, start: str, watch: Watcher = lambda _: None) -> Answer:
        id_ = self.shelf.full_id(start)
        return self._followed(id_, self._desk.watch(id_), watch)

    def cancel(self, start: str) -> Step:
        return self._desk.cancel(self.shelf.full_id(start))

    def add_programme(self, title: str, purpose: str, tables: Sequence[str], max_price: str, until: str) -> tuple[str, int]:
        """Its id, and its index in the ledger; it counts once the auditor has approved it."""
        statement = Programme(
            log=self.settings.origin,
            at=stamp(int(self._clock())),
            by=self.settings.uri,
            title=title,
            purpose=purpose,
            tables=tuple(tables),
            max_price=max_price,
            until=until,
        )
        envelope = statement.envelope().signed([self._home.key("identity")])
        return envelope.statement_id().hex(), self._desk.append(envelope.encode())

    def answer(self, start: str) -> Answer:
        """A stored answer, verified again."""
        id_ = self.shelf.full_id(start)
        if id_ not in self.shelf.answers():
            raise BadUsage("error.no_answer", id=id_)
        return self._accepted(id_, self.shelf.answer(id_))

    def _followed(self, id_: str, steps: Iterator[Step], watch: Watcher) -> Answer:
        raw = self.released(steps, id_, watch)
        try:
            answer = self._accepted(id_, raw)
        except Unverified:
            self.shelf.keep_evidence(id_, raw)
            raise
        self.shelf.keep_answer(id_, raw)
        return answer

    def _accepted(self, id_: str, raw: bytes) -> Answer:
        found = verified(raw, id_, self.trust, int(self._clock()), self._verify)
        return Answer(replace(found, reasons=of_the_absent(found.bundle.coverage, self.shelf.reasons(id_))))


def _require_exact(request: Request) -> None:
    if request.noise is not None or request.programme is not None or request.purpose != "research":
        raise BadUsage("error.exact")
    if request.floor is not None and request.floor < CONTRACT.exact_floor:
        raise BadUsage("error.exact_floor", floor=CONTRACT.exact_floor)


def noise_of(sd: float | None, epsilon: float | None, price: float | None) -> Noise | None:
    """The one stated, read as the decimal a person typed; None if none is. Raises BadUsage for two, or one not above 0."""
    kinds = ((BySd, sd), (ByEpsilon, epsilon), (ByPrice, price))
    stated = [(kind, number) for kind, number in kinds if number is not None]
    if len(stated) > 1:
        raise BadUsage("error.noise_twice")
    if not stated:
        return None
    kind, number = stated[0]
    if not 0 < number < math.inf:
        raise BadUsage("error.noise_range")
    return kind(Fraction(str(number)))


def connect(home: str | Path) -> City:
    """The city that `kapok init --home` has enrolled this folder in. Raises HomeError if it has not."""
    place = Home(Path(home))
    settings, trust = Settings.read(place), place.trust()
    return City(place, settings, Desk.connect(place, settings), trust, verify_answer)
