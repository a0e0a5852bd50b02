"""The budget as a pure filter at one Renyi order: what was spent per (purpose, block), and what would pass a limit.

Rules (spec: choice 5):
 1. One order for the whole period, fixed by the policy before it starts. Then the running sum of charges is a sound filter
    for queries chosen adaptively (Feldman and Zrnic 2021, arXiv 2008.11193, for a fixed order): spending up to the limit
    costs no more than if all queries had been fixed in advance.
 2. Every block of the footprint pays the whole charge. A refusal names every block that would pass its limit.
 3. A refusal changes nothing: a later, cheaper query is judged by what was truly spent.
 4. Charges are positive multiples of 1e-9, rounded up, with one spelling; totals never fall, because nothing subtracts.
 5. Beside each total stands the one at doubled sensitivities (a patient of two hospitals). It limits nothing; a charge that
    does not state it makes it 'not stated' from then on.

No IO, clock or randomness: durability is the caller's, who stores `Account` before anything is released.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType

from privacy.errors import InvalidFootprint, InvalidPrice, MalformedCharge

CHARGE_GRID = Fraction(1, 10**9)
SPELLINGS_KEPT = 4096  # the totals of some years of blocks are read and written with every question
_SPELLING = re.compile(r"(0|[1-9][0-9]{0,17})\.([0-9]{9})")


def charge_on_grid(price: Fraction) -> Fraction:
    """The smallest charge that covers the price; even a price of 0 costs one step, since it reads records.

    Raises: InvalidPrice.
    """
    if price < 0:
        raise InvalidPrice(f"price: expected at least 0, got {price}")
    return max(1, -(-price // CHARGE_GRID)) * CHARGE_GRID


@lru_cache(SPELLINGS_KEPT)
def encode_charge(charge: Fraction) -> str:
    """Nine decimals, always: `0.018212500`. Also the spelling of totals, so 0 is allowed.

    Raises: InvalidPrice (a value off the grid).
    """
    steps = charge / CHARGE_GRID
    if steps.denominator != 1 or steps < 0:
        raise InvalidPrice(f"charge: expected a multiple of 1e-9 of at least 0, got {charge}")
    whole, rest = divmod(steps.numerator, 10**9)
    return f"{whole}.{rest:09d}"


@lru_cache(SPELLINGS_KEPT)
def decode_charge(text: str) -> Fraction:
    """Raises: MalformedCharge for anything but the one spelling."""
    if not _SPELLING.fullmatch(text):
        raise MalformedCharge(f"charge: expected a decimal with nine places, like 0.018212500, got {text[:40]!r}")
    return Fraction(text)


@dataclass(frozen=True, slots=True)
class Budget:
    """The limit of each purpose, per block. A purpose that is not named has none of the budget."""

    limits: Mapping[str, Fraction]

    def __post_init__(self) -> None:
        if any(limit < 0 for limit in self.limits.values()):
            raise InvalidPrice("budget: expected limits of at least 0")
        object.__setattr__(self, "limits", MappingProxyType(dict(self.limits)))

    @classmethod
    def split(cls, total: Fraction, shares: Mapping[str, Fraction]) -> "Budget":
        """Shares of one total per block; the parts never exceed the whole.

        Raises: InvalidPrice.
        """
        if sum(shares.values()) > 1:
            raise InvalidPrice(f"shares of the budget: expected at most 1 together, got {sum(shares.values())}")
        return cls({purpose: share * total // CHARGE_GRID * CHARGE_GRID for purpose, share in shares.items()})

    def limit(self, purpose: str) -> Fraction:
        return self.limits.get(purpose, Fraction(0))


@dataclass(frozen=True, slots=True)
class Spent:
    """Running totals of one (purpose, block)."""

    single: Fraction
    doubled: Fraction | None
    """At doubled sensitivities; None is 'not stated', for good."""

    def after(self, charge: Fraction, doubled: Fraction | None) -> "Spent":
        both = None if self.doubled is None or doubled is None else self.doubled + doubled
        return Spent(self.single + charge, both)


NOTHING = Spent(Fraction(0), Fraction(0))


@dataclass(frozen=True, slots=True)
class Overspend:
    """One block that a charge would carry past the limit of its purpose."""

    purpose: str
    block: str
    charge: Fraction
    spent: Fraction
    limit: Fraction


@dataclass(frozen=True, slots=True)
class Account:
    """What has been spent, as a value: `after` makes the next one. Hand it the totals that were stored to go on."""

    totals: Mapping[tuple[str, str], Spent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "totals", MappingProxyType(dict(self.totals)))

    def spent(self, purpose: str, block: str) -> Spent:
        return self.totals.get((purpose, block), NOTHING)

    def after(self, purpose: str, blocks: Iterable[str], charge: Fraction, doubled: Fraction | None = None) -> "Account":
        """The account once every block has paid. It does not judge: ask `refusals` first.

        Raises: InvalidFootprint, InvalidPrice.
        """
        paying = _checked(purpose, blocks, charge)
        if doubled is not None and doubled < charge:
            raise InvalidPrice(f"doubled charge: expected at least the charge {charge}, got {doubled}")
        paid: dict[tuple[str, str], Spent] = {}
        for spent, alike in groupby(paying, key=lambda block: self.spent(purpose, block)):
            after = spent.after(charge, doubled)  # neighbours have mostly paid alike: one sum for all
            paid |= {(purpose, block): after for block in alike}
        return Account({**self.totals, **paid})


def refusals(account: Account, budget: Budget, purpose: str, blocks: Iterable[str], charge: Fraction) -> list[Overspend]:
    """Every block, in order, that this charge would carry past its limit; an empty list is consent.

    Raises: InvalidFootprint, InvalidPrice.
    """
    limit = budget.limit(purpose)
    spends = {block: account.spent(purpose, block).single for block in _checked(purpose, blocks, charge)}
    most = limit - charge
    return [Overspend(purpose, block, charge, spent, limit) for block, spent in spends.items() if spent > most]


def _checked(purpose: str, blocks: Iterable[str], charge: Fraction) -> list[str]:
    paying = sorted(set(blocks))  # a block named twice in a footprint is one block
    if not purpose or not paying or not all(paying):
        raise InvalidFootprint("spend: expected a named purpose and at least one named block")
    if charge <= 0 or (charge / CHARGE_GRID).denominator != 1:
        raise InvalidPrice(f"charge: expected a positive multiple of 1e-9, got {charge}")
    return paying
