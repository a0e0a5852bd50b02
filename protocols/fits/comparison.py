"""Groups compared in one round: means (Welch's t, analysis of variance) from sums, ranks (Mann-Whitney) from bins.

A row counts in the group whose category it has, in no other, and nowhere if it has none of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from protocols.fits.shape import Fit
from protocols.fits.terms import Category, Name, Numeric, Term, Text, Variable


class Groups(Term):
    """Categories of one column, compared with each other."""

    column: Name
    categories: Annotated[tuple[Text, ...], Field(min_length=2, max_length=20)]

    @property
    def variables(self) -> tuple[Category, ...]:
        return tuple(Category(column=self.column, category=each) for each in self.categories)


class Compared(Fit):
    """What comparisons share."""

    outcome: Numeric
    groups: Groups

    def require_sound(self) -> None:
        if self.outcome.column == self.groups.column:
            raise ValueError("the outcome is not the column of the groups")

    @property
    def variables(self) -> tuple[Variable, ...]:
        return (self.outcome, *self.groups.variables)


class Means(Compared):
    """Per group: rows, sum and sum of squares of the outcome in [-1, 1]."""

    @property
    def width(self) -> int:
        return 3 * len(self.groups.categories)

    @property
    def row_squared(self) -> int:
        return 3


class TTest(Means):
    """Whether two means differ, with unequal variances (Welch)."""

    fit: Literal["t_test"] = "t_test"

    def require_sound(self) -> None:
        super().require_sound()
        require_two(self.groups)


class Anova(Means):
    """Whether any of several means differ."""

    fit: Literal["anova"] = "anova"


class MannWhitney(Compared):
    """Whether one group's values rank above the other's. Per group: rows by bin of the outcome."""

    is_rounded = False

    fit: Literal["mann_whitney"] = "mann_whitney"
    bins: Annotated[int, Field(ge=2, le=1000)]

    def require_sound(self) -> None:
        super().require_sound()
        require_two(self.groups)

    @property
    def width(self) -> int:
        return 2 * self.bins

    @property
    def row_squared(self) -> int:
        return 1

    @property
    def scale(self) -> int:
        return 1


def require_two(groups: Groups) -> None:
    """Raises ValueError for another number of groups."""
    if len(groups.categories) != 2:
        raise ValueError(f"two groups are compared, not {len(groups.categories)}")
