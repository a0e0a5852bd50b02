"""How far one patient can move a query's true sum, in L1 and squared L2, by the two rules of bounding (spec: choice 2).

Neighbours: one patient of one hospital added or removed, within one block (a calendar month, or a static table). A price by
these numbers is paid in every block of the footprint.

Block-local: the patient's cell is a sum or an OR, over blocks, of functions of one block's rows; at most `cells` cells per
(patient, block), each (patient, block, cell) total clamped to [lo, hi], lo <= 0 <= hi. Removing the block's rows takes away at
most `cells` totals of size max(|lo|, |hi|).

Whole query: any other plan; at most `cells` cells per patient, each (patient, cell) total clamped to [lo, hi] over the whole
query. Removing one block's rows may change a kept cell from one end to the other (hi - lo), or drop a cell and admit another
(two changes of `clamp`). With j cells kept of k: L2^2 <= j (hi - lo)^2 + 2 (k - j) clamp^2 <= k max(2 clamp^2, (hi - lo)^2), and
L1 <= 2 k clamp because hi - lo <= 2 clamp.
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


def block_local(cells: int, lo: int, hi: int) -> Sensitivity:
    """Per (patient, block). For a patient of m blocks take `.times(m)`.

    Raises: InvalidSensitivity.
    """
    _check(cells, lo, hi)
    largest = max(-lo, hi)
    return Sensitivity(largest * cells, largest**2 * cells)


def whole_query(cells: int, lo: int, hi: int, clamp: int) -> Sensitivity:
    """Per (patient, block) of a plan that is not block-local. `clamp` is max(|lo|, |hi|), stated again by the plan: lo and hi
    are the ends of the TOTAL over the query, and a plan that means its per-block ends is refused here.

    A patient of all blocks enters or leaves as a whole, which moves the sum by `block_local(cells, lo, hi)`.
    Raises: InvalidSensitivity.
    """
    _check(cells, lo, hi)
    if clamp != max(-lo, hi):
        raise InvalidSensitivity(f"clamp of the whole query: expected max(|{lo}|, |{hi}|), got {clamp}")
    return Sensitivity(2 * cells * clamp, cells * max(2 * clamp**2, (hi - lo) ** 2))


def stack(*parts: Sensitivity) -> Sensitivity:
    """Several aggregates, or levels of one, released together: each moves by its own rule, and all of them move."""
    return Sensitivity(sum(part.l1 for part in parts), sum(part.l2_squared for part in parts))


def _check(cells: int, lo: int, hi: int) -> None:
    if cells < 1:
        raise InvalidSensitivity(f"cells per patient: expected at least 1, got {cells}")
    if not lo <= 0 <= hi or lo == hi:
        raise InvalidSensitivity(f"clamp: expected lo <= 0 <= hi and not both 0, got {lo} and {hi}")
