"""What every fit over a registered table states, and what follows: who pays, how wide a round is, how far a patient reaches.

Each round every hospital sums, per (patient, block), the contributions of that patient's rows; the sum is clipped to `clip` in
L2, multiplied by `scale`, made whole and only then added to others. Whole numbers are the nearest ones where `is_rounded`, which
adds at most half a unit an entry to the reach (and no bias); histograms are whole already and are cut toward zero where clipped.
A row is never longer than the root of `row_squared`: only patients of more rows a block than `rows_per_patient` are clipped.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from protocols.contract import CONTRACT, LARGEST_ENTRY
from protocols.errors import MalformedBytes
from protocols.fits.terms import Catalogue, Name, Numeric, Span, Term, Variable

Floats = npt.NDArray[np.float64]
MAX_PATIENTS = 5_000_000
MAX_NUMBER = 64
"""The largest number of a round's input, in absolute value."""
EXACT_SCALE, EXACT_UNITS = 2**30, 2**40
"""In exact mode: a hospital's sums are rounded once, by 5e-10 at most, and Newton's last step is finer than 1e-12."""
FINEST = 2**11
"""What a (patient, block) reaches in L2, about: fine enough to lose nothing beside the noise, coarse enough for its tables."""


class Fit(Term):
    """One model over one registered table. Without a period the table's one block is `static:<catalogue>`."""

    is_rounded: ClassVar[bool] = True
    is_exact_only: ClassVar[bool] = False
    """Of what is no sum over patients of a bounded reach: nothing could be priced, so that it has no private form."""
    fewest_rounds: ClassVar[int] = 1
    most_rounds: ClassVar[int] = 1

    version: Annotated[int, Field(ge=2, le=2)] = 2
    fit: str
    table: Name
    catalogue: Catalogue
    period: Span | None = None
    rows_per_patient: Annotated[int, Field(ge=1, le=100)] = 1
    is_exact: bool = Field(default=False, exclude=True)
    """Asked in exact mode, as the statement around it says: no row is clipped, and whole numbers are fine ones."""

    @model_validator(mode="after")
    def _obeys_every_rule(self) -> Self:
        if self.period is not None:
            self.period.require_sound()
        self.require_sound()
        labels = [each.label for each in self.variables]
        if len(set(labels)) != len(labels):
            raise ValueError("a column or category stands once in a fit")
        if self.width > CONTRACT.max_cells:
            raise ValueError(f"a round has at most {CONTRACT.max_cells} numbers")
        return self

    def require_sound(self) -> None:
        """Raises ValueError for what this kind of fit cannot be."""

    # -- of each kind

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The columns of a row that its function reads, in the order in which it reads them."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """Entries of a round's vector."""
        raise NotImplementedError

    @property
    def row_squared(self) -> int:
        """A bound on the squared L2 norm of one row's contribution, in the units of the contributions."""
        raise NotImplementedError

    @property
    def inputs(self) -> int:
        """How many public numbers a round is given: none in a fit of one round."""
        return 0

    def start(self) -> Floats:
        """The first round's input."""
        return np.zeros(self.inputs)

    @property
    def units(self) -> int:
        """A round's input is whole numbers of one over this."""
        return EXACT_UNITS if self.is_exact else 2**20

    def exactly(self) -> Self:
        """The same fit in exact mode. Raises MalformedBytes where it asks for rows to be shortened."""
        if getattr(self, "row_clip", None) is not None:
            raise MalformedBytes("exact mode shortens no row: leave out row_clip")
        return self.model_copy(update={"is_exact": True})

    # -- of all

    @property
    def blocks(self) -> tuple[str, ...]:
        return self.period.months if self.period else (f"static:{self.catalogue}",)

    @property
    def clip_squared(self) -> int:
        return self.rows_per_patient**2 * self.row_squared

    @property
    def clip(self) -> float:
        return math.sqrt(self.clip_squared)

    @property
    def scale(self) -> int:
        """What a round's whole numbers are multiples of one over: a power of two."""
        return EXACT_SCALE if self.is_exact else 1 << max(0, (math.isqrt(FINEST**2 // self.clip_squared)).bit_length() - 1)

    @property
    def reach(self) -> int:
        """A (patient, block)'s largest L2 norm in whole numbers."""
        rounding = (math.isqrt(self.width - 1) + 2) // 2 if self.is_rounded else 0
        return math.isqrt(self.clip_squared * self.scale**2 - 1) + 1 + rounding

    @property
    def l2_squared(self) -> int:
        return self.reach**2 if self.is_rounded else self.clip_squared * self.scale**2

    @property
    def l1(self) -> int:
        """By Cauchy-Schwarz, rounded up."""
        return math.isqrt(self.width * self.l2_squared - 1) + 1

    @property
    def cell_max(self) -> int:
        return LARGEST_ENTRY if self.is_exact else MAX_PATIENTS * len(self.blocks) * self.reach

    def allows(self, rounds: int) -> bool:
        return self.fewest_rounds <= rounds <= self.most_rounds

    @property
    def rounds_in_words(self) -> str:
        return "1 round" if self.most_rounds == 1 else f"{self.fewest_rounds} to {self.most_rounds} rounds"

    # -- bytes

    def to_json(self) -> dict[str, Any]:
        encoded: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return encoded

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Reads exactly what `to_json` writes. Raises MalformedBytes."""
        try:
            spec = cls.model_validate(data, strict=False)
        except ValidationError as error:
            raise MalformedBytes(f"fit: {first_problem(error)}") from None
        if spec.to_json() != data:
            raise MalformedBytes("fit: not in the canonical encoding")
        return spec

    def encode(self, numbers: Floats) -> bytes:
        """A round's input. Raises MalformedBytes for a number that is none, or beyond the public bound."""
        if not (np.abs(numbers) <= MAX_NUMBER).all():  # false for NaN too
            raise MalformedBytes(f"input: expected numbers of at most {MAX_NUMBER} in absolute value")
        return np.rint(numbers * self.units).astype("<i8").tobytes()

    def decode(self, raw: bytes) -> Floats:
        """Raises MalformedBytes for another length or a number beyond the public bound."""
        if len(raw) != 8 * self.inputs:
            raise MalformedBytes(f"input: expected {8 * self.inputs} bytes, got {len(raw)}")
        whole = np.frombuffer(raw, "<i8")
        # Not by the absolute value: that of the lowest integer is negative.
        if self.inputs and (whole.min() < -MAX_NUMBER * self.units or whole.max() > MAX_NUMBER * self.units):
            raise MalformedBytes(f"input: expected at most {MAX_NUMBER} in absolute value")
        return whole.astype(np.float64) / self.units

    def limited(self, numbers: Floats) -> Floats:
        """The nearest input that can be sent, toward zero: exactly what the hospitals are given, also after a restart."""
        limited: Floats = np.clip(np.trunc(numbers * self.units) / self.units, -MAX_NUMBER, MAX_NUMBER)
        return limited


class Moments(Fit):
    """One round of second moments: the upper triangle of those of (1, variables), all in [-1, 1]."""

    @property
    def width(self) -> int:
        return triangle(len(self.variables) + 1)

    @property
    def row_squared(self) -> int:
        return self.width


def first_problem(error: ValidationError) -> str:
    """Its place and what was expected there; never the value."""
    first = error.errors(include_url=False, include_input=False)[0]
    told = first["msg"].removeprefix("Value error, ")
    return ": ".join([".".join(map(str, first["loc"])), told] if first["loc"] else [told])


def require_features(features: tuple[Variable, ...], outcome: Variable | None = None) -> None:
    """Raises ValueError where the outcome explains itself."""
    if outcome is not None and outcome.column in {each.column for each in features}:
        raise ValueError("the outcome is no feature")


def triangle(size: int) -> int:
    """Entries of the upper triangle of a square matrix, its diagonal included."""
    return size * (size + 1) // 2


def symmetric(size: int, entries: Floats) -> Floats:
    """The matrix whose upper triangle stands here row by row."""
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = entries
    whole: Floats = matrix + np.triu(matrix, 1).T
    return whole


def own_units(features: tuple[Variable, ...]) -> Floats:
    """The matrix that carries an intercept and weights of features in [-1, 1] to those of the columns' own units."""
    to = np.eye(len(features) + 1)
    for place, each in enumerate(features, start=1):
        if isinstance(each, Numeric):
            to[place, place] = 1 / each.half
            to[0, place] = -each.middle / each.half
    return to
