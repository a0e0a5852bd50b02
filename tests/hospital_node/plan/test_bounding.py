"""Which cells of a patient count: the same ones in every question, and none by accident of numbering."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from hospital_node.plan import execute
from hospital_node.plan.bounding import BoundingKey, Groups, _are_smallest, kept_cells
from protocols.query import Axis, Grid, QuerySpec, Table
from tests.hospital_node.plan.records import Hospital, Records, Row

KEY = b"the key of one period of a node!"
DISTRICTS = ("440103", "440104", "440105", "440106", "440111", "440112")


def counts(spec: QuerySpec, held: Records, key: bytes = KEY) -> dict[tuple[str, ...], int]:
    vector = execute(spec, Hospital().hold(held), key)
    grid = spec.grid()
    return {grid.labels_of(n): int(vector[n]) for n in range(grid.size) if vector[n]}


def question(keys: list[str], start: str, end: str, k: int = 2) -> QuerySpec:
    return QuerySpec.from_fields(
        {
            "table": "visits",
            "measures": [{"kind": "count_distinct_person"}],
            "keys": [{"key": key} for key in keys],
            "period": {"from": start, "to": end},
            "cells_per_patient": k,
        }
    )


def traveller(person: int) -> tuple[Row, ...]:
    return tuple(Row(person, date(2026, 3, 10), {"district": district, "sex": "F", "age": 30}) for district in DISTRICTS)


def test_the_same_cells_are_kept_whatever_the_period_and_the_order_of_keys() -> None:
    held = Records(Table.VISITS, traveller(7))
    short = counts(question(["iso_week", "district"], "2026-03-09", "2026-03-16"), held)
    long = counts(question(["iso_week", "district"], "2026-01-01", "2026-12-01"), held)
    turned = counts(question(["district", "iso_week"], "2026-02-01", "2026-04-01"), held)
    assert len(short) == 2
    assert short == long == {(week, district): n for (district, week), n in turned.items()}


def test_another_key_and_another_patient_keep_other_cells() -> None:
    spec = question(["district"], "2026-03-01", "2026-04-01")
    choices = {tuple(counts(spec, Records(Table.VISITS, traveller(person)))) for person in range(40)}
    assert len(choices) > 10
    by_key = {tuple(counts(spec, Records(Table.VISITS, traveller(1)), bytes([n]) * 32)) for n in range(40)}
    assert len(by_key) > 10


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="bounding key has 15 bytes, it needs at least 16"):
        BoundingKey(bytes(15))


def test_the_choice_agrees_with_sorting_by_the_hash_even_for_many_patients_above_the_bound() -> None:
    random = np.random.default_rng(3)
    packed = np.unique(random.integers(0, 500 * 97, 20_000))
    groups = Groups(packed // 97 - 250, packed // 97, packed % 97)
    grid = Grid((Axis("x", tuple(map(str, range(97))), 97),))
    kept = kept_cells(groups, grid, 4, BoundingKey(KEY))
    assert (np.bincount(groups.patient_block[kept]) == 4).all()
    for one in (0, 250, 499):
        mine = groups.patient_block == one
        alone = kept_cells(groups.where(mine), grid, 4, BoundingKey(KEY))
        assert (kept[mine] == alone).all()


@pytest.mark.parametrize("lowest_bits", [12, 50, 64])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_the_smallest_of_each_run_are_found_also_where_only_their_lowest_bits_differ(lowest_bits: int, k: int) -> None:
    random = np.random.default_rng(lowest_bits)
    lengths = random.integers(1, 30, 90)
    rank = random.choice(2 ** min(lowest_bits, 20), lengths.sum(), replace=False).astype(np.uint64) << np.uint64(
        max(lowest_bits - 20, 0)
    )
    starts = np.cumsum(lengths) - lengths
    kept = _are_smallest(rank, starts, k)
    for start, length in zip(starts, lengths, strict=True):
        of_run = slice(start, start + length)
        assert rank[of_run][kept[of_run]].tolist() == [each for each in rank[of_run].tolist() if each in sorted(rank[of_run])[:k]]
    assert _are_smallest(rank[:0], starts[:0], k).tolist() == []


def test_a_week_across_two_months_counts_a_patient_once_and_their_rows_in_both() -> None:
    days = (date(2026, 3, 31), date(2026, 4, 1))  # both in 2026-W14
    held = Records(Table.VISITS, tuple(Row(1, day, {"district": "440103", "sex": "F", "age": 1}) for day in days))
    assert counts(question(["iso_week"], "2026-03-01", "2026-05-01"), held) == {("2026-W14",): 1}
    rows = QuerySpec.from_fields(
        question(["iso_week"], "2026-03-01", "2026-05-01").to_json() | {"measures": [{"kind": "count", "hi": 1}]}
    )
    assert counts(rows, held) == {("2026-W14",): 2}


def test_week_53_and_the_turn_of_the_year_are_counted_in_their_own_week() -> None:
    days = (date(2026, 12, 31), date(2027, 1, 3), date(2027, 1, 4))
    held = Records(Table.VISITS, tuple(Row(n, day, {}) for n, day in enumerate(days)))
    assert counts(question(["iso_week"], "2026-12-01", "2027-02-01"), held) == {("2026-W53",): 2, ("2027-W01",): 1}
    assert counts(question(["iso_week"], "2027-01-01", "2027-01-04"), held) == {("2026-W53",): 1}


def test_numbers_of_patients_at_both_ends_of_64_bits_are_counted() -> None:
    ends = (-(2**63), -1, 0, 2**63 - 1)
    held = Records(Table.VISITS, tuple(Row(person, date(2026, 3, 1), {"district": "440103"}) for person in ends))
    assert counts(question(["iso_week", "district"], "2026-01-01", "2027-01-01"), held) == {("2026-W09", "440103"): 4}
    assert counts(question(["iso_week"], "2026-03-01", "2026-03-02"), held) == {("2026-W09",): 4}
    assert counts(question([], "2026-03-01", "2026-03-02"), held) == {(): 4}


def test_a_total_past_64_bits_is_clamped_and_does_not_wrap() -> None:
    largest = {"value": Decimal("999999999999.999999")}
    held = Records(Table.MEASUREMENTS, tuple(Row(1, date(2026, 3, 1), largest) for _ in range(10)))
    measures = [{"kind": kind, "column": "value", "lo": "-5", "hi": "900", "scale": 1} for kind in ("sum", "avg")]
    fields = {"table": "measurements", "measures": measures, "period": {"from": "2026-03-01", "to": "2026-03-02"}}
    assert list(execute(QuerySpec.from_fields(fields), Hospital().hold(held), KEY)) == [900, 900, 1]
