"""A training by distributed DP-SGD: one step a round, of a study's model that is installed at every hospital and pinned by its
hash.

Each round a hospital chooses every (patient, block) by a secret coin of chance `sampled`; the gradient of the loss summed over that
patient's rows of one block, at the round's public weights, is clipped to `longest` in L2, carried to integers at `fineness` a unit
and rounded, which adds at most half a unit an entry (or the hospital's sum is rounded, at a clip that is shorter by as much). So a
round is one release of sensitivity `reach`, sampled at this rate, and is priced as that before it starts. Where `batch` is not
stated, one more entry counts who took part: true weights enter inside the sum.

The model lives with the study; here stands only how many weights it has, and what the coordinator does with their mean gradient.
"""

from __future__ import annotations

import hashlib
import math
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, StringConstraints

from protocols.contract import CONTRACT
from protocols.fits.shape import MAX_PATIENTS, Fit, Floats, require_features
from protocols.fits.terms import Category, Name, Number, Numeric, Term, Variable

COUNT_SHARE = 16
"""Who took part counts a sixteenth of the gradient's reach: it makes the noise by a five-hundredth dearer."""
StudyName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9a-z][0-9a-z.+-]{0,30}$")]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Features = Annotated[tuple[Variable, ...], Field(min_length=1, max_length=100)]


class Strategy(StrEnum):
    """What becomes of the mean: `sgd` is a plain step; the others are Flower's, which need nothing but a mean.

    One that compares single hospitals' updates (Krum, a median, a trimmed mean) cannot be stated: nobody has single updates.
    """

    SGD = "sgd"
    FED_AVG = "FedAvg"
    FED_PROX = "FedProx"
    FED_AVG_M = "FedAvgM"
    FED_ADAM = "FedAdam"
    FED_YOGI = "FedYogi"
    FED_ADAGRAD = "FedAdagrad"


_ADAPTIVE = frozenset({"eta", "eta_l", "tau"})
OPTIONS: dict[Strategy, frozenset[str]] = {
    Strategy.SGD: frozenset(),
    Strategy.FED_AVG: frozenset(),
    Strategy.FED_PROX: frozenset({"proximal_mu"}),
    Strategy.FED_AVG_M: frozenset({"server_learning_rate", "server_momentum"}),
    Strategy.FED_ADAM: _ADAPTIVE | {"beta_1", "beta_2"},
    Strategy.FED_YOGI: _ADAPTIVE | {"beta_1", "beta_2"},
    Strategy.FED_ADAGRAD: _ADAPTIVE,
}


class Study(Term):
    """Which installed package computes gradients: all three have to be those of the hospital's own copy."""

    name: StudyName
    version: Version
    sha256: Hash


class Training(Fit):
    """One segment of a training: 2 to 50 steps under one charge. `after` goes on from an earlier segment's released weights."""

    fewest_rounds = 2
    most_rounds = CONTRACT.segment_rounds

    fit: Literal["dp_sgd"] = "dp_sgd"
    study: Study
    outcome: Numeric | Category
    features: Features
    weights: Annotated[int, Field(ge=1, le=CONTRACT.max_cells)]
    longest: Number
    fineness: Annotated[int, Field(ge=1, le=2**24)]
    sampled: Number = "1"
    batch: Annotated[int, Field(ge=1, le=MAX_PATIENTS)] | None = None
    step: Number
    strategy: Strategy = Strategy.SGD
    options: Annotated[tuple[tuple[Name, Number], ...], Field(max_length=8)] = ()
    spread: Number = "0"
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    after: Hash | None = None

    def require_sound(self) -> None:
        require_features(self.features, self.outcome)
        if not 0 < Fraction(self.longest) <= 10**6:
            raise ValueError("longest is above 0 and at most 1000000")
        if not 0 < self.rate <= 1:
            raise ValueError("sampled is above 0 and at most 1")
        if not (0 < Fraction(self.step) <= 10**4 and 0 <= Fraction(self.spread) <= 8):
            raise ValueError("step is above 0 and at most 10000, spread from 0 to 8")
        if self.reach > 2 * Fraction(self.longest) * self.fineness:
            raise ValueError("fineness is too coarse: rounding alone would fill half of the reach")
        names = [name for name, _ in self.options]
        if names != sorted(set(names)) or not set(names) <= OPTIONS[self.strategy]:
            known = ", ".join(sorted(OPTIONS[self.strategy])) or "none"
            raise ValueError(f"options of {self.strategy}: each once, sorted, of {known}")
        if self.after is not None and Fraction(self.spread):
            raise ValueError("what goes on from earlier weights has no spread")

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (*self.features, self.outcome)

    @property
    def rate(self) -> Fraction:
        return Fraction(self.sampled)

    @property
    def stepping(self) -> int:
        """Entries that a step is made of: the summed gradient, and who took part where that is counted."""
        return self.weights + (self.batch is None)

    @property
    def width(self) -> int:
        return self.stepping

    @property
    def steps_a_round(self) -> int:
        """How many times a round uses a patient's gradient, each with noise of its own."""
        return 1

    @property
    def is_evaluated(self) -> bool:
        """Whether the last round makes no step, but tests the weights that it is asked at."""
        return False

    @property
    def once(self) -> tuple[int, int] | None:
        """(L1, L2 squared) of a patient who is held out for the last round."""
        return None

    @property
    def inputs(self) -> int:
        return self.weights

    @property
    def clip(self) -> float:
        return float(self.longest)

    @property
    def scale(self) -> int:
        return self.fineness

    @property
    def reach(self) -> int:
        """Of the gradient. The norm of what rounding adds is at most sqrt(weights) / 2."""
        return math.ceil(Fraction(self.longest) * self.fineness) + (math.isqrt(self.weights - 1) + 2) // 2

    @property
    def counted(self) -> int:
        """What one (patient, block) that takes part adds to the last entry."""
        return max(1, self.reach // COUNT_SHARE)

    @property
    def l2_squared(self) -> int:
        return self.reach**2 + (self.counted**2 if self.batch is None else 0)

    @property
    def cell_max(self) -> int:
        return MAX_PATIENTS * len(self.blocks) * self.reach

    def start(self) -> Floats:
        """Zeros, or even draws from [-spread, spread] that anybody repeats from the seed."""
        if not Fraction(self.spread):
            return np.zeros(self.weights)
        stream = hashlib.shake_256(f"kapok start {self.study.sha256} {self.seed}".encode()).digest(4 * self.weights)
        even = np.frombuffer(stream, "<u4") / 2.0**31 - 1.0
        return self.limited(even * float(self.spread))

    def gradient(self, vector: Floats) -> Floats:
        """The mean gradient of who took part, from a round's released integers."""
        mean: Floats = vector[: self.weights] / (self.fineness * self.many(vector))
        return mean

    def many(self, vector: Floats) -> float:
        """How many took part: the stated number, or the noisy one; at least one, whatever the noise says."""
        return float(self.batch) if self.batch is not None else max(1.0, float(vector[self.weights]) / self.counted)

    def stepped(self, weights: Floats, vector: Floats) -> Floats:
        """Where one plain step leads."""
        return self.limited(weights - float(self.step) * self.gradient(vector))
