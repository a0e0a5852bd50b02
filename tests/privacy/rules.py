"""The two rules of bounding as choice 2 of the spec writes them, for `protocols.query.footprint` to be held against.

Block-local: the patient's cell is a sum or an OR, over blocks, of functions of one block's rows; at most `cells` cells per
(patient, block), each (patient, block, cell) total clamped to [lo, hi], lo <= 0 <= hi. Removing the block's rows takes away at
most `cells` totals of size max(|lo|, |hi|).

Whole query: any other plan; at most `cells` cells per patient, each (patient, cell) total clamped to [lo, hi] over the whole
query. Removing one block's rows may change a kept cell from one end to the other (hi - lo), or drop a cell and admit another
(two changes of the clamp). With j cells kept of k: L2^2 <= j (hi - lo)^2 + 2 (k - j) clamp^2 <= k max(2 clamp^2, (hi - lo)^2),
and L1 <= 2 k clamp because hi - lo <= 2 clamp. A patient of all blocks enters or leaves as a whole: the block-local rule, once.
"""

from privacy.sensitivity import Sensitivity


def block_local(cells: int, lo: int, hi: int) -> Sensitivity:
    """Per (patient, block)."""
    largest = max(-lo, hi)
    return Sensitivity(largest * cells, largest**2 * cells)


def whole_query(cells: int, lo: int, hi: int) -> Sensitivity:
    """Per (patient, block) of a plan that is not block-local; lo and hi are the ends of the total over the query."""
    clamp = max(-lo, hi)
    return Sensitivity(2 * cells * clamp, cells * max(2 * clamp**2, (hi - lo) ** 2))


def stack(*parts: Sensitivity) -> Sensitivity:
    """Several aggregates, or levels of one, released together: each moves by its own rule, and all of them move."""
    return Sensitivity(sum(part.l1 for part in parts), sum(part.l2_squared for part in parts))
