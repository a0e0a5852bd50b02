"""The four attacks, and what is kept of each.

- membership: is this person in the records at all? One question, one threshold.
- averaging: the same question again and again until the budget refuses it.
- differencing: everybody, minus everybody but the one sought.
- covariance: Huth et al. 2023 ("Accessibility of covariance information creates vulnerability in Federated Learning frameworks"):
  sums over chosen groups are a linear system whose solution is the records. A covariance with a vector one made oneself is such a
  sum; the language has no covariance, so that the attack is led with what it has, patients by overlapping lists of districts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np

from privacy.rdp import skellam_variance_for
from protocols.contract import CONTRACT
from protocols.query import QuerySpec
from protocols.query.domains import DISTRICTS
from simulations.attacks.allowed import allowed, best_by_noise, epsilon_of, half_width
from simulations.attacks.asker import Asker, Refused, Told
from simulations.attacks.planted import Bits, Month, Visit, coins, question, visit_in

LIMIT = CONTRACT.limit("surveillance")
"""What a purpose may spend in one block: every attack spends the most of it that it can."""
REPEATS = 6
ERRORS = 5
"""A false alarm in 1.7 million attacks, two-sided."""
LISTS = 13
TOGETHER = 4
"""Guesses about the eleven districts of one group hang together a little: taken as if a quarter of them were independent."""
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Step:
    """After one more answer: what was spent so far, and the share of secrets guessed right."""

    price: Fraction
    recovered: float

    @property
    def epsilon(self) -> float:
        return epsilon_of(self.price)

    @property
    def allowed(self) -> float:
        return allowed(self.epsilon)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`by_noise` is the share that the stated noise predicts, `without_noise` what the same attack has of the bare records."""

    name: str
    targets: int
    steps: tuple[Step, ...]
    refusal: tuple[str, ...]
    by_noise: float
    without_noise: float
    together: int = 1
    """How many guesses at most hang together, since they are made from the same answers: as if so many fewer were made."""

    @property
    def recovered(self) -> float:
        return self.steps[-1].recovered

    @property
    def half_width(self) -> float:
        return half_width(self.recovered, self.targets)

    @property
    def is_within(self) -> bool:
        """Whether the recovered share, its 95 % aside, is what the promise allows."""
        return self.recovered - self.half_width <= self.steps[-1].allowed

    @property
    def is_as_predicted(self) -> bool:
        """Whether the recovered share is what the stated noise predicts, to `ERRORS` standard errors of its binomial."""
        error = math.sqrt(self.by_noise * (1 - self.by_noise) * self.together / self.targets)
        return abs(self.recovered - self.by_noise) <= ERRORS * error


class Attack(Protocol):
    """A plan made before the records are: whom it plants, and how it guesses."""

    name: str

    def visits(self) -> Sequence[Visit]:
        """The records that must be there for it, its own secrets included."""
        ...

    def run(self, ask: Asker, control: Asker) -> Outcome: ...


def variance_for(price: Fraction) -> Fraction:
    """The noise that a question of one patient in one cell needs to cost no more than this."""
    return skellam_variance_for(CONTRACT.order, price, 1, 1)


def share_right(guess: Bits, secret: Bits) -> float:
    return float((guess == secret).mean())


@dataclass(slots=True)
class Membership:
    """One cell a target; half of them are empty."""

    month: Month
    name: str = "membership"
    spec: QuerySpec = field(init=False)
    secret: Bits = field(init=False)

    def __post_init__(self) -> None:
        self.spec = question(self.month, ("iso_week", "district", "sex", "age_band"))
        self.secret = coins(self.spec.grid().size)

    def visits(self) -> Sequence[Visit]:
        return [visit_in(self.month, self.spec, int(cell)) for cell in np.flatnonzero(self.secret)]

    def run(self, ask: Asker, control: Asker) -> Outcome:
        variance = variance_for(LIMIT)
        told = ask(self.spec, variance)
        exact = share_right(control(self.spec, variance).values > 0, self.secret)
        step = Step(told.price, share_right(told.values > 0, self.secret))
        return Outcome(self.name, len(self.secret), (step,), (), best_by_noise(told.variance), exact)


@dataclass(slots=True)
class Averaging(Membership):
    """`REPEATS` questions fit into the budget; the next is refused."""

    name: str = "averaging"

    def run(self, ask: Asker, control: Asker) -> Outcome:
        variance, exact = variance_for(LIMIT / REPEATS), control(self.spec, Fraction(1)).values
        steps: list[Step] = []
        refusal: tuple[str, ...] = ()
        total, price, noise = np.zeros(len(self.secret)), Fraction(0), Fraction(0)
        while not refusal:
            try:
                told = ask(self.spec, variance)
            except Refused as no:
                refusal = no.codes
                continue
            total, price, noise = total + told.values, price + told.price, noise + told.variance
            steps.append(Step(price, share_right(total / (len(steps) + 1) > 0.5, self.secret)))
        predicted = best_by_noise(noise, len(steps))
        return Outcome(self.name, len(self.secret), tuple(steps), refusal, predicted, share_right(exact > 0, self.secret))


@dataclass(slots=True)
class Differencing:
    """In each cell a crowd of women and men, and perhaps one of unknown sex, whom the second question leaves out.

    A difference has the noise of both answers, so that it gains little: it takes several months' secrets to tell how little.
    """

    months: Sequence[Month]
    name: str = "differencing"
    pairs: list[tuple[QuerySpec, QuerySpec]] = field(init=False)
    """Of each month: everybody, and everybody whose sex is known."""
    secrets: list[Bits] = field(init=False)

    def __post_init__(self) -> None:
        keys, known = ("iso_week", "district", "age_band"), {"column": "sex", "values": ["F", "M", "O"]}
        self.pairs = [(question(month, keys), question(month, keys, known)) for month in self.months]
        self.secrets = [coins(everybody.grid().size) for everybody, _ in self.pairs]

    def visits(self) -> Sequence[Visit]:
        planted = zip(self.months, self.pairs, self.secrets, strict=True)
        return [visit for month, (spec, _), secret in planted for visit in _crowd_and_secrets(month, spec, secret)]

    def run(self, ask: Asker, control: Asker) -> Outcome:
        variance = variance_for(LIMIT / 2)
        told = [(ask(whole, variance), ask(known, variance)) for whole, known in self.pairs]
        exact = [(control(whole, variance), control(known, variance)) for whole, known in self.pairs]
        # A block is one month: a patient pays for the two questions of hers.
        step = Step(max(whole.price + known.price for whole, known in told), self._right(told))
        chances = [best_by_noise(whole.variance + known.variance) for whole, known in told]
        predicted = float(np.average(chances, weights=[len(secret) for secret in self.secrets]))
        return Outcome(self.name, sum(map(len, self.secrets)), (step,), (), predicted, self._right(exact))

    def _right(self, told: Sequence[tuple[Told, Told]]) -> float:
        guessed = np.concatenate([whole.values - known.values > 0 for whole, known in told])
        return share_right(guessed, np.concatenate(self.secrets))


def _crowd_and_secrets(month: Month, spec: QuerySpec, secret: Bits) -> list[Visit]:
    crowd = np.random.default_rng().poisson(6, len(secret))
    many = [visit_in(month, spec, cell, sex="FM"[n % 2]) for cell, size in enumerate(crowd) for n in range(size)]
    return [*many, *(visit_in(month, spec, int(cell), sex="U") for cell in np.flatnonzero(secret))]


@dataclass(slots=True)
class Covariance:
    """Everybody is known to be there; the secret is who was an inpatient. `LISTS` lists of districts, all solved at once.

    The guess is the best there is: for every group of one patient a district, the posterior over all 2^11 possibilities.
    """

    month: Month
    name: str = "covariance"
    lists: Bits = field(init=False)
    secret: Bits = field(init=False)

    def __post_init__(self) -> None:
        everyone = question(self.month, self._keys)
        self.secret = coins(everyone.grid().size * len(DISTRICTS)).reshape(-1, len(DISTRICTS))
        self.lists = _lists_of_full_rank()

    @property
    def _keys(self) -> tuple[str, ...]:
        return ("iso_week", "sex", "age_band")

    def visits(self) -> Sequence[Visit]:
        spec, districts = question(self.month, self._keys), tuple(DISTRICTS)
        return [
            visit_in(self.month, spec, group, district=districts[n], visit_class="IMP" if is_in else "AMB")
            for group, of_group in enumerate(self.secret)
            for n, is_in in enumerate(of_group)
        ]

    def run(self, ask: Asker, control: Asker) -> Outcome:
        variance = variance_for(LIMIT / LISTS)
        exact = np.stack([control(self._over(chosen), variance).values for chosen in self.lists]).astype(np.float64)
        told = [ask(self._over(chosen), variance) for chosen in self.lists]
        sums, noise = np.stack([each.values for each in told]).astype(np.float64), float(told[0].variance)
        steps, price = [], Fraction(0)
        for n, each in enumerate(told, start=1):
            price += each.price
            chance = self._chances(sums[:n], self.lists[:n], noise)
            steps.append(Step(price, share_right(chance > 0.5, self.secret)))
        # A posterior is calibrated exactly if the noise is as stated: its own certainty is what it should get right.
        predicted = float(np.maximum(chance, 1 - chance).mean())
        return Outcome(self.name, self.secret.size, tuple(steps), (), predicted, self._solved(exact), TOGETHER)

    def _over(self, chosen: Bits) -> QuerySpec:
        named = [district for district, is_in in zip(DISTRICTS, chosen, strict=True) if is_in]
        where = ({"column": "district", "values": named}, {"column": "visit_class", "values": ["IMP"]})
        return question(self.month, self._keys, *where)

    def _chances(self, sums: Floats, lists: Bits, noise: float) -> Floats:
        """Of every secret, the posterior probability that it is 1."""
        possible = (np.arange(2 ** len(DISTRICTS))[:, None] >> np.arange(len(DISTRICTS))) & 1
        expected = possible @ lists.T.astype(np.float64)
        # -(y - e)^2 / 2 without the part that is the same for every possibility.
        weight = (expected @ sums - (expected**2).sum(1, keepdims=True) / 2) / noise
        weight = np.exp(weight - weight.max(0))
        chances: Floats = (possible.T.astype(np.float64) @ weight / weight.sum(0)).T
        return chances

    def _solved(self, sums: Floats) -> float:
        found = np.linalg.lstsq(self.lists.astype(np.float64), sums, rcond=None)[0].T
        return share_right(found > 0.5, self.secret)


def _lists_of_full_rank() -> Bits:
    """Random halves of the districts that determine every one: no more than a curious person's patience."""
    while True:
        lists = coins(LISTS * len(DISTRICTS)).reshape(LISTS, -1)
        if np.linalg.matrix_rank(lists) == len(DISTRICTS) and lists.any(1).all():
            return lists


def attacks_of(year: int) -> tuple[Attack, ...]:
    """Each with months of its own: no attack spends what another has planned for."""
    membership, averaging, covariance, *many = (Month(year, number) for number in range(1, 13))
    return Membership(membership), Averaging(averaging), Differencing(many), Covariance(covariance)
