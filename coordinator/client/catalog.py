"""The city as its public statements describe it: hospitals, their tables and limits, programmes, and what has been spent.

Read from one JSON reply of the desk. Unknown fields are let through, because a newer coordinator may tell more; the known ones
are strict. Nothing here is computed from records: sizes and dates are what hospitals declare.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from coordinator.client.errors import BadUsage, Unreachable
from protocols.contract import CONTRACT
from protocols.exact import permission
from protocols.identity import Identity
from protocols.union.question import permitted

_PUBLIC = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)


class TableCard(BaseModel):
    model_config = _PUBLIC

    name: str
    size_class: int
    first_day: str
    last_day: str
    code_systems: tuple[str, ...]


class ColumnCard(BaseModel):
    """A number has bounds and a unit, a category its list."""

    model_config = _PUBLIC

    name: str
    type: str
    unit: str = ""
    low: str = ""
    high: str = ""
    categories: tuple[str, ...] = ()


class RegisteredCard(BaseModel):
    """A research table."""

    model_config = _PUBLIC

    table: str
    catalogue: str
    size_class: int
    first_day: str
    last_day: str
    approved: bool | None
    columns: tuple[ColumnCard, ...] = ()

    def column(self, name: str) -> ColumnCard:
        """Raises BadUsage with the columns there are."""
        found = next((each for each in self.columns if each.name == name), None)
        if found is None:
            known = ", ".join(each.name for each in self.columns)
            raise BadUsage("error.fit", why=f"{name!r} is no column of {self.table}; it has {known or 'none'}")
        return found


class PolicyCard(BaseModel):
    """The public part of a hospital's policy; `limits` are Rényi budgets per block, by purpose."""

    # Not strict: what `HospitalCard` looks at first no longer counts as JSON, and strict tuples are not lists.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    order: int
    limits: dict[str, str]
    floor: int
    purposes: tuple[str, ...]
    tables: tuple[str, ...]
    peers: tuple[str, ...] = ()


class HospitalCard(BaseModel):
    model_config = _PUBLIC

    uri: str
    admitted: bool
    connected: bool
    tables: tuple[TableCard, ...] = ()
    registered: tuple[RegisteredCard, ...] = ()
    freshness: str = ""
    policy: PolicyCard | None = None

    @field_validator("policy", mode="before")
    @classmethod
    def _none_logged(cls, given: object) -> object:
        return given or None  # the desk writes {} for a hospital whose policy is not in the ledger yet

    @property
    def name(self) -> str:
        return Identity.parse(self.uri).name


class ProgrammeCard(BaseModel):
    model_config = _PUBLIC

    id: str
    title: str
    purpose: str
    tables: tuple[str, ...]
    max_price: str
    until: str
    by: str
    approved: bool


class Catalog(BaseModel):
    """See the module's docstring. `spent` is {hospital: {purpose: {block: total}}}."""

    model_config = _PUBLIC

    origin: str
    size: int
    checkpoint: str = ""
    hospitals: tuple[HospitalCard, ...]
    programmes: tuple[ProgrammeCard, ...]
    spent: dict[str, dict[str, dict[str, str]]]

    def registered(self, table: str) -> RegisteredCard:
        """The research table of this name, as all hospitals that have it declare it. Raises BadUsage."""
        cards = [each for hospital in self.hospitals for each in hospital.registered if each.table == table]
        if not cards:
            known = sorted({each.table for hospital in self.hospitals for each in hospital.registered})
            raise BadUsage("error.fit", why=f"no hospital has registered {table!r}; there are {', '.join(known) or 'none'}")
        if any((each.catalogue, each.columns) != (cards[0].catalogue, cards[0].columns) for each in cards):
            raise BadUsage("error.fit", why=f"hospitals declare {table!r} differently: state catalogue and columns")
        return cards[0]

    @classmethod
    def read(cls, raw: bytes) -> "Catalog":
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            place = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"]))
            raise Unreachable("error.catalog", place=place) from None

    def audience(self, wanted: Sequence[str] = ()) -> tuple[str, ...]:
        """Admitted hospitals, sorted: all of them, or those named (`h01` or the whole URI). Raises BadUsage for a name unknown."""
        admitted = {each.name: each.uri for each in self.hospitals if each.admitted}
        if not wanted:
            return tuple(sorted(admitted.values()))
        names = [each.rsplit("/", 1)[-1] for each in wanted]
        unknown = sorted(set(names) - set(admitted))
        if unknown:
            raise BadUsage("error.hospital_unknown", names=", ".join(unknown), known=", ".join(sorted(admitted)))
        return tuple(sorted({admitted[name] for name in names}))

    def programme(self, wanted: str) -> ProgrammeCard:
        """The one programme whose id begins so, or whose title is this. Raises BadUsage."""
        found = [each for each in self.programmes if each.id.startswith(wanted.lower()) or each.title == wanted]
        if len(found) != 1:
            known = ", ".join(f"{each.id[:12]} ({each.title})" for each in self.programmes) or "-"
            raise BadUsage("error.programme_unknown", wanted=wanted, count=len(found), known=known)
        return found[0]

    def floor(self, audience: Sequence[str]) -> int:
        """The smallest floor that every hospital of the audience accepts."""
        stated = (each.policy.floor for each in self.hospitals if each.policy and each.uri in audience)
        return max([CONTRACT.floor, *stated])

    def unwilling(self, audience: Sequence[str], table: str) -> tuple[str, ...]:
        """Whose stated policy does not answer this table in exact mode."""
        asked = (each for each in self.hospitals if each.uri in audience)
        return tuple(each.uri for each in asked if each.policy is None or permission(table) not in each.policy.tables)

    def without_residents(self, audience: Sequence[str], table: str) -> tuple[str, ...]:
        """Whose stated policy does not count residents over this table, or not under the key that most of the others state."""
        asked = [each for each in self.hospitals if each.uri in audience]
        stated = {each.uri: permitted(each.policy.tables, table) for each in asked if each.policy is not None}
        (key, _), *_ = Counter(filter(None, stated.values())).most_common(1) or [("", 0)]
        return tuple(each.uri for each in asked if not key or stated.get(each.uri) != key)

    def budgets(self, audience: Sequence[str], purpose: str, due: Mapping[str, Fraction]) -> tuple["Budget", ...]:
        """What each hospital has left for this purpose in the block that would be the fullest, from logged facts alone.

        `due` is what each block would pay.
        """
        return tuple(self._budget(each, purpose, due) for each in self.hospitals if each.uri in audience)

    def _budget(self, hospital: HospitalCard, purpose: str, due: Mapping[str, Fraction]) -> "Budget":
        totals = self.spent.get(hospital.uri, {}).get(purpose, {})
        spends = {block: Fraction(totals.get(block, "0")) for block in due}
        fullest = max(due, key=lambda block: (spends[block] + due[block], block))
        limit = Fraction(hospital.policy.limits.get(purpose, "0")) if hospital.policy else None
        return Budget(hospital.name, fullest, spends[fullest], limit, due[fullest])


@dataclass(frozen=True, slots=True)
class Budget:
    """One hospital's fullest block, and what it would pay. `limit` is None where no policy stands in the ledger."""

    hospital: str
    block: str
    spent: Fraction
    limit: Fraction | None
    price: Fraction

    @property
    def left(self) -> Fraction | None:
        return None if self.limit is None else self.limit - self.spent

    @property
    def fits(self) -> bool:
        return self.left is not None and self.price <= self.left
