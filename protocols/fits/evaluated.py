"""Trainings that test what they have trained, on patients whom they never trained on; and several local steps a round (DP-FedAvg).

**Held out.** Each hospital holds out a share of its patients by a secret hash: the same ones in every round, and in every training
over the same table within a year. They take part in the last round and in no other; everybody else takes part in the others. In
the last round no step is made: the weights that it is asked at are those that are released, and it counts the held-out patients by
outcome and by bin of the model's chance. A patient adds `unit` to her bin, split among her rows, so that she moves the sums by at
most `unit`, once: that is one unsampled release, and nobody who is in it is in another round. The price of the whole is the
greater of what either kind of patient pays. With everybody sampled, `sharpness` up to the number of rounds costs nothing more.

**DP-FedAvg.** Each hospital makes `local_steps` steps of its own from the round's weights, each with whole noise of its own, not a
share: the next step's weights depend on it, so that less noise would let one patient move everybody's gradients. What it
sends is the sum of its noisy integer gradients. So a patient's loss is bounded before anything is added up, and grows with steps,
not rounds; the sum carries as many noises as there are hospitals. Decision 0019 says what that costs in accuracy.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from protocols.contract import CONTRACT
from protocols.fits.shape import MAX_PATIENTS, Floats
from protocols.fits.terms import Number, Numeric
from protocols.fits.training import Training

LONGEST_NOISE = 2**24
"""More than any one draw of noise that a question may state; a test holds it against the widest table."""


class Evaluated(Training):
    """`bins` are even, so that one of their edges is a chance of one half."""

    version: Annotated[int, Field(ge=3, le=3)] = 3
    held_out: Number = "0.2"
    bins: Annotated[int, Field(ge=2, le=200, multiple_of=2)] = 10
    sharpness: Annotated[int, Field(ge=1, le=CONTRACT.segment_rounds**2)] = 1

    def require_sound(self) -> None:
        super().require_sound()
        is_number = isinstance(self.outcome, Numeric)
        if is_number:
            raise ValueError("held-out patients are counted by an outcome that is a category")
        if not self.fewest_held_out <= Fraction(self.held_out) <= Fraction(1, 2):
            raise ValueError("held_out is above 0 and at most 0.5")

    @property
    def fewest_held_out(self) -> Fraction:
        return Fraction(1, 10**9)

    @property
    def is_evaluated(self) -> bool:
        return Fraction(self.held_out) > 0

    @property
    def width(self) -> int:
        """A step's entries, then held-out patients without the outcome by bin, then those with it."""
        return self.stepping + (2 * self.bins if self.is_evaluated else 0)

    @property
    def unit(self) -> int:
        """What a held-out (patient, block) adds to the sums, all its bins together."""
        return math.isqrt(self.sharpness * self.l2_squared)

    @property
    def once(self) -> tuple[int, int] | None:
        return (self.unit, self.unit**2) if self.is_evaluated else None

    @property
    def cell_max(self) -> int:
        return max(super().cell_max, MAX_PATIENTS * len(self.blocks) * self.unit if self.is_evaluated else 0)

    def histogram(self, vector: Floats) -> Floats:
        """Held-out patients of the last round: a row without the outcome and a row with it, a column a bin."""
        counted: Floats = vector[self.stepping :].reshape(2, self.bins) / self.unit
        return counted


class FedAvgTraining(Evaluated):
    """`held_out` may be 0; then no round is a test."""

    fit: Literal["dp_fedavg"] = "dp_fedavg"  # type: ignore[assignment]  # a kind of its own
    held_out: Number = "0"
    local_steps: Annotated[int, Field(ge=2, le=50)] = 2

    def require_sound(self) -> None:
        super().require_sound()
        if self.batch is not None:
            raise ValueError("local steps are divided by who took part at the hospital: leave out batch")

    @property
    def fewest_held_out(self) -> Fraction:
        return Fraction(0)

    @property
    def steps_a_round(self) -> int:
        return self.local_steps

    @property
    def cell_max(self) -> int:
        """Of all local steps, each with whole noise."""
        return max(super().cell_max, self.local_steps * (MAX_PATIENTS * len(self.blocks) * self.reach + LONGEST_NOISE))

    def many(self, vector: Floats) -> float:
        """How many took part in a step, on average over the steps."""
        return max(1.0, super().many(vector) / self.local_steps)
