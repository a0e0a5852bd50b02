"""Meta-analysis of the hospitals' own differences of two means: sums over hospitals that show no single hospital's estimate.

A hospital of n1 and n2 patients has the difference t and the weight w = n1 n2 / (n1 + n2), and adds (w, w t / 2, w t^2 / 12),
the outcome in [-1, 1]. A patient counts one in all: the mean of the patient's rows in a block. Of these sums the fixed effect,
Q and I^2 follow at a public standard deviation within hospitals.

These are no sums over patients, so that their reach is proved and not clipped. A patient moves (n1, S1, n2, S2) by (a, s, b, r)
with a + b <= 1, |s| <= a, |r| <= b; on the way |S1| <= n1 and |S2| <= n2. With p = n1 / N and q = n2 / N:
    dw = q^2 a + p^2 b                                                     at most 1
    d(w t) = d(q S1 - p S2) = q s - p r + (S1 + S2) (p b - q a) / N        at most 2, since |S1 + S2| <= N
    d(w t^2) = 2 t d(w t) - t^2 dw, and |t| <= 2                           at most 12
so that no entry moves by more than 1, and its whole number by more than `scale` + 1 (both neighbours are rounded).
"""

from __future__ import annotations

from typing import Literal

from protocols.fits.comparison import Compared, require_two
from protocols.fits.terms import Number


class MetaAnalysis(Compared):
    """Whether two groups' means differ, hospital by hospital. `within_sd` is public, in the outcome's own unit."""

    fit: Literal["meta_analysis"] = "meta_analysis"
    within_sd: Number

    def require_sound(self) -> None:
        super().require_sound()
        require_two(self.groups)
        if float(self.within_sd) <= 0:
            raise ValueError("a standard deviation is above 0")
        if self.rows_per_patient != 1:
            raise ValueError("a patient counts one in all, however many rows there are")

    @property
    def width(self) -> int:
        return 3

    @property
    def row_squared(self) -> int:
        return 3

    @property
    def l2_squared(self) -> int:
        return 3 * (self.scale + 1) ** 2
