"""A fit over four hospitals' patients without the wire: the nodes' sums, the sampler's noise, the coordinator's steps."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from coordinator.client.fits import Result, read_result
from coordinator.training import next_input, trained_values
from hospital_node.fits.rows import Rows, _clamped, _scaled
from hospital_node.fits.sums import CONTRIBUTIONS, bounded
from privacy.rdp import on_grid_up, share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.asked import VARIANCE_STEPS
from protocols.fits import Category, Fit, Floats, read
from tests.coordinator.test_training import BINDING

Columns = dict[str, npt.NDArray[Any]]


def spec(kind: str, **fields: Any) -> Fit:
    head = {"version": 2, "fit": kind, "table": "cohort", "catalogue": "cohort-1", "period": None, "rows_per_patient": 1}
    return read({**head, **fields})


def rows(fit: Fit, columns: Columns) -> Rows:
    """One row a patient."""
    found = [_values(each, columns[each.column]) for each in fit.variables]
    own = np.column_stack([_clamped(each, values) for each, values in zip(fit.variables, found, strict=True)])
    scaled = np.column_stack([_scaled(each, own[:, n]) for n, each in enumerate(fit.variables)])
    return Rows(scaled, own, np.arange(len(own)))


def _values(variable: Any, column: npt.NDArray[Any]) -> Floats:
    return np.asarray(column == variable.category if isinstance(variable, Category) else column, np.float64)


def sums(fit: Fit, held: Rows, numbers: Floats) -> npt.NDArray[np.int64]:
    total: npt.NDArray[np.int64] = bounded(fit, CONTRIBUTIONS[type(fit)](fit, held, numbers)).sum(axis=0)
    return total


@dataclass
class City:
    """`sd` is asked for in the units of the contributions; 0 is a city without noise, which only a test has."""

    sd: float = 0.0
    binding: Any = field(default=BINDING)

    def noise(self, fit: Fit) -> tuple[npt.NDArray[np.int64], Fraction]:
        if not self.sd:
            return np.zeros(fit.width, np.int64), Fraction(0)
        asked = on_grid_up(Fraction(self.sd * fit.scale) ** 2)
        share = share_variance(asked, self.binding.n, self.binding.c)
        drawn = [draw(skellam_table(share), fit.width, os.urandom) for _ in self.binding.members]
        return np.sum(drawn, axis=0), len(self.binding.members) * share

    def fit(self, fit: Fit, columns: Columns, rounds: int = 1) -> Result:
        held, numbers, total = rows(fit, columns), fit.start(), Fraction(0)
        asked = max(1, int(on_grid_up(Fraction(self.sd * fit.scale) ** 2) * VARIANCE_STEPS))
        binding, vector = replace(self.binding, variances=(asked,)), np.zeros(fit.width, np.int64)
        for _ in range(rounds):
            noise, total = self.noise(fit)
            vector = sums(fit, held, numbers) + noise
            numbers = next_input(fit, numbers, vector, binding) if fit.inputs else numbers
        return read_result(fit, trained_values(fit, numbers, vector) if fit.inputs else vector, total)


def named(result: Result, names: Sequence[str]) -> list[tuple[float, float]]:
    found = {each.name: (each.value, each.standard_error) for each in result.estimates}
    return [found[name] for name in names]
