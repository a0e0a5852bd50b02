"""How far one patient can move a query's true sum, in L1 and squared L2 (spec: choice 2).

Neighbours: one patient of one hospital added or removed, within one block (a calendar month, or a static table). A price by
these numbers is paid in every block of the footprint. How far each kind of question moves is said where it is asked:
`protocols.query.footprint` and `protocols.fits`.
"""

from dataclasses import dataclass

from privacy.errors import InvalidSensitivity


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Bounds on the change of the integer vector that a hospital puts into the sum."""

    l1: int
    l2_squared: int

    def __post_init__(self) -> None:
        if self.l1 < 0 or self.l2_squared < 0:
            raise InvalidSensitivity(f"sensitivity: expected at least 0, got l1 {self.l1}, l2_squared {self.l2_squared}")

    def times(self, copies: int) -> "Sensitivity":
        """The same patient in this many hospitals, or blocks: the changes may fall on the same cells and add up."""
        return Sensitivity(copies * self.l1, copies**2 * self.l2_squared)
