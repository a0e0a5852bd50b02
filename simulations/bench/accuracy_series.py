"""How much of the noise of a year's totals a standing series saves, and whether it has the error that it promises.

One city of constant records, asked for a year: the questions that `kapok series` asks, of eight hospitals and, in another year, of
six that become eight, after which weighted sums begin anew. The errors are those of what `combined` says.
"""

import math
from fractions import Fraction
from typing import Final

import numpy as np

from coordinator.client.forecast import ByPrice, forecast
from coordinator.client.series import Due, schedule
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.series import Released, begins_after, combined
from privacy.tables import skellam_table
from protocols.contract import CONTRACT
from protocols.query import QuerySpec
from protocols.query.sql import parse_sql
from simulations.bench.rows import Row

SQL = "SELECT district, COUNT(*) FROM visits WHERE date >= DATE '2025-01-01' AND date < DATE '2025-02-01' GROUP BY district"
YEARS, PRICE = 4_000, Fraction(1, 100)
HOSPITALS: Final = {"eight hospitals": (8,) * 12, "six that become eight": (6,) * 5 + (8,) * 7}


def rows(is_quick: bool = False) -> list[Row]:
    years, found = YEARS // 20 if is_quick else YEARS, []
    for name, present in HOSPITALS.items():
        measured, promised, alone = year(present, years)
        how = f"{years:,} years; standard error {100 / math.sqrt(2 * years):.1f} %"
        close = f"<= {1 + 4 / math.sqrt(2 * years):.3f}"
        found += [
            Row.measured(
                f"series of {name}: the year's sd, beside its promise", "count", measured, how, bar=close, reference=promised
            ),
            Row.measured(f"series of {name}: the year's sd, beside twelve months alone", "count", measured, how, reference=alone),
        ]
    return found


def year(present: tuple[int, ...], years: int) -> tuple[float, float, float]:
    """The sd of the year's total: measured, promised by the covariance, and of twelve monthly answers at the whole price.

    `present`: how many hospitals answer what ends in each month. `years` are cells with noise of their own.
    """
    spec = parse_sql(SQL)
    releases = []
    for due in _asked(spec, present):
        n = present[due.stop - 1]
        share = _share(due.spec, ByPrice(PRICE * due.share), n)
        noise = np.asarray(sum(draw(skellam_table(share), years) for _ in range(n)), np.float64)
        releases.append(Released(due.start, due.stop, _members(n), float(n * share), noise, due.part.weights))
    whole = combined(releases).total(0, 12)
    assert whole is not None
    alone = sum(float(n * _share(spec, ByPrice(PRICE), n)) for n in present)
    # The records are constant, so that what is told beside them is error alone.
    return float(np.sqrt(np.mean(whole[0] ** 2))), math.sqrt(whole[1]), math.sqrt(alone)


def _asked(spec: QuerySpec, present: tuple[int, ...]) -> tuple[Due, ...]:
    """As a year goes: planned anew after others have answered."""
    begins: tuple[int, ...] = (0,)
    while True:
        due = schedule(spec, begins)
        answered = {each.part: _members(present[each.stop - 1]) for each in due}
        later = begins_after([each.part for each in due], answered, begins, len(present))
        if later == begins:
            return due
        begins = later


def _members(n: int) -> frozenset[str]:
    return frozenset(f"h{number}" for number in range(n))


def _share(spec: QuerySpec, noise: ByPrice, n: int) -> Fraction:
    cast = forecast(spec, noise, n, CONTRACT.order)
    return share_variance(cast.variances[0], n, cast.colluders)
