"""The typed spec of a fit: a logistic regression over visits, by noisy Newton rounds that share the path of every other question.

Each round all hospitals sum, per (patient, block), gradient and Hessian of the log-likelihood at the round's public weights; each
(patient, block)'s stacked contribution is clipped to `clip`, the square root of the number of columns, in L2 and written as
integers at `SCALE`, truncated toward zero, so that its integer L2 norm never exceeds clip · SCALE. One visit is never longer than
that clip (its gradient alone reaches it only where the model was certain and wrong), so only patients of several visits in a month
are clipped. Features are public functions of a row with values in [-1, 1] (preprocessing constants are public). One round's sums
are one piece of a release; the rounds of a fit are charged together.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from protocols.contract import CONTRACT
from protocols.errors import MalformedBytes
from protocols.fits.shape import MAX_PATIENTS, first_problem
from protocols.fits.terms import Span, Term

SCALE = 1024
WEIGHT_UNITS = 2**20
MAX_WEIGHT = 64
Weights = npt.NDArray[np.float64]


class Feature(StrEnum):
    """Public functions of a visit, each in [-1, 1]. `intercept` is always there and always first."""

    INTERCEPT = "intercept"
    AGE = "age"
    MALE = "male"
    WINTER = "winter"
    WEEKEND = "weekend"


class FitSpec(Term):
    """One fit. The outcome is 1 where the visit's class is `outcome`, else 0."""

    version: Literal[1] = 1
    fit: Literal["logistic"] = "logistic"
    table: Literal["visits"] = "visits"
    outcome: Literal["AMB", "EMER", "IMP", "OTHER"]
    features: Annotated[tuple[Feature, ...], Field(min_length=1, max_length=4)]
    period: Span

    @model_validator(mode="after")
    def _obeys_every_rule(self) -> FitSpec:
        if len(set(self.features)) != len(self.features) or Feature.INTERCEPT in self.features:
            raise ValueError("features are named once; the intercept is always there")
        self.period.require_sound()
        return self

    @property
    def columns(self) -> tuple[Feature, ...]:
        return (Feature.INTERCEPT, *self.features)

    @property
    def blocks(self) -> tuple[str, ...]:
        return self.period.months

    @property
    def width(self) -> int:
        """Entries of a round's vector: the gradient, then the upper triangle of the Hessian."""
        size = len(self.columns)
        return size + size * (size + 1) // 2

    @property
    def l2_squared(self) -> int:
        return len(self.columns) * SCALE**2

    @property
    def clip(self) -> float:
        """The L2 radius of one (patient, block)'s contribution, in the units of the features."""
        return math.sqrt(len(self.columns))

    @property
    def l1(self) -> int:
        """By Cauchy-Schwarz, rounded up."""
        return math.isqrt(self.width * self.l2_squared - 1) + 1

    @property
    def scale(self) -> int:
        return SCALE

    @property
    def cell_max(self) -> int:
        """The largest honest entry of one hospital."""
        return MAX_PATIENTS * len(self.blocks) * math.ceil(self.clip * SCALE)

    @property
    def inputs(self) -> int:
        """Numbers of a round's input: a weight a column."""
        return len(self.columns)

    def allows(self, rounds: int) -> bool:
        """At least two rounds (one round is a table query in disguise) and at most a segment."""
        return 2 <= rounds <= CONTRACT.segment_rounds

    @property
    def rounds_in_words(self) -> str:
        return f"2 to {CONTRACT.segment_rounds} rounds"

    def start(self) -> Weights:
        return np.zeros(self.inputs)

    def encode(self, numbers: Weights) -> bytes:
        return encode_weights(numbers)

    def decode(self, raw: bytes) -> Weights:
        return decode_weights(raw, self)

    def unpacked(self, vector: npt.NDArray[np.int64]) -> tuple[Weights, Weights]:
        return unpacked(self, vector)

    def limited(self, numbers: Weights) -> Weights:
        """What can be sent: whole units of 2^-20 within the public bound, toward zero."""
        limited: Weights = np.clip(np.trunc(numbers * WEIGHT_UNITS) / WEIGHT_UNITS, -MAX_WEIGHT, MAX_WEIGHT)
        return limited

    def to_json(self) -> dict[str, Any]:
        encoded: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return encoded

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> FitSpec:
        """Reads exactly what `to_json` writes. Raises MalformedBytes."""
        try:
            spec = cls.model_validate({**data, "period": _days(data.get("period"))}, strict=False)
        except (ValidationError, TypeError) as error:
            raise MalformedBytes(f"fit: {_first_problem(error)}") from None
        if spec.to_json() != data:
            raise MalformedBytes("fit: not in the canonical encoding")
        return spec


def _first_problem(error: ValidationError | TypeError) -> str:
    """Its place and what was expected there; never the value."""
    return "expected an object with names" if isinstance(error, TypeError) else first_problem(error)


def _days(period: object) -> object:
    return period if isinstance(period, dict) else {}


def encode_weights(weights: Weights) -> bytes:
    """A round's input: 8-byte little-endian fixed point, units of 2^-20, so that every party hashes the same bytes.

    Raises MalformedBytes for a weight that is no number or beyond the public bound: silently other weights would be another fit.
    """
    if not (np.abs(weights) <= MAX_WEIGHT).all():  # false for NaN too
        raise MalformedBytes(f"weights: expected numbers of at most {MAX_WEIGHT} in absolute value")
    return np.rint(weights * WEIGHT_UNITS).astype("<i8").tobytes()


def decode_weights(raw: bytes, spec: FitSpec) -> Weights:
    """Raises MalformedBytes for another length or a weight beyond the public bound."""
    if len(raw) != 8 * len(spec.columns):
        raise MalformedBytes(f"weights: expected {8 * len(spec.columns)} bytes, got {len(raw)}")
    units = np.frombuffer(raw, "<i8")
    # Not by the absolute value: that of the lowest integer is negative.
    if units.min() < -MAX_WEIGHT * WEIGHT_UNITS or units.max() > MAX_WEIGHT * WEIGHT_UNITS:
        raise MalformedBytes(f"weights: expected at most {MAX_WEIGHT} in absolute value")
    return units.astype(np.float64) / WEIGHT_UNITS


def unpacked(spec: FitSpec, vector: npt.NDArray[np.int64]) -> tuple[Weights, Weights]:
    """Gradient and symmetric Hessian of a released round, in the units of the features."""
    size = len(spec.columns)
    hessian = np.zeros((size, size))
    hessian[np.triu_indices(size)] = vector[size:] / SCALE
    return vector[:size] / SCALE, hessian + np.triu(hessian, 1).T


def is_fit(spec: dict[str, Any]) -> bool:
    return "fit" in spec
