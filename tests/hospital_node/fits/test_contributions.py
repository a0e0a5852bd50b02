"""What a row adds to a round does not depend, in any bit, on who else is there: only so does the reach of one hold for the sum.

The rows have many columns, since that is where a matrix product's last bits begin to depend on the number of its rows.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pytest

from hospital_node.fits.bounded import scores
from hospital_node.fits.logistic import _stacked
from hospital_node.fits.rows import Rows, rows_of
from hospital_node.fits.sums import CONTRIBUTIONS, bounded
from protocols.fits import KINDS, Fit, MetaAnalysis, read
from tests.hospital_node.test_neighbours_tables import OF, SHAPES, _writer

PEOPLE = 400
WIDE = [{"column": f"x{n}", "low": "-1", "high": "1", "unit": ""} for n in range(11)]


def _wide(kind: str) -> Fit:
    """The kind's question, with as many columns as it takes."""
    wider = {name: WIDE for name in ("features", "columns") if name in OF[kind]}
    if "weights" in OF[kind]:
        wider["weights"] = [f"0.{n + 1}5" for n in range(len(WIDE) + 1)]
    return read({**SHAPES[kind], **wider})


def _rows(spec: Fit) -> Rows:
    """One to three rows a person; columns of groups and events are 0 or 1, the others anywhere."""
    random = np.random.default_rng()
    lengths = random.integers(1, 4, PEOPLE)
    values = random.uniform(-1, 1, (lengths.sum(), len(spec.variables)))
    own = np.column_stack(
        [
            values[:, n] > 0 if not hasattr(each, "low") else float(each.middle) + float(each.half) * values[:, n]
            for n, each in enumerate(spec.variables)
        ]
    ).astype(float)
    scaled = np.column_stack([values[:, n] if hasattr(each, "low") else own[:, n] for n, each in enumerate(spec.variables)])
    return Rows(scaled, own, np.cumsum(lengths) - lengths)


def _each_alone(rows: Rows) -> Iterator[Rows]:
    for person in range(len(rows.starts)):
        yield rows.between(person, person + 1)


def _whole(spec: Fit, rows: Rows, numbers: np.ndarray) -> np.ndarray:
    return np.add.reduceat(CONTRIBUTIONS[type(spec)](spec, rows, numbers), rows.starts, axis=0)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"meta_analysis"}))
def test_no_bit_of_a_contribution_depends_on_who_else_is_there(kind: str) -> None:
    spec = _wide(kind)
    assert not isinstance(spec, MetaAnalysis)
    rows, numbers = _rows(spec), spec.limited(spec.start() + 0.4 * np.cos(np.arange(spec.inputs)))
    together = _whole(spec, rows, numbers)
    alone = np.concatenate([_whole(spec, each, numbers) for each in _each_alone(rows)])
    assert together.tobytes() == alone.tobytes()
    assert bounded(spec, together).tobytes() == np.concatenate([bounded(spec, each[None]) for each in alone]).tobytes()


def test_a_patients_rows_are_added_up_in_an_order_of_their_own(tmp_path: Path) -> None:
    random = np.random.default_rng()
    stated = [
        (
            int(random.integers(3)),
            date(2026, 10, 3),
            float(random.uniform(0, 100)),
            1.0,
            float(random.uniform(1, 9)),
            5.0,
            "yes",
            "a",
        )
        for _ in range(60)
    ]
    spec, found = read(SHAPES["logistic"]), []
    for name, rows in (("one", stated), ("other", stated[::-1])):
        _writer("cohort")(tmp_path / name, rows)
        with duckdb.connect(tmp_path / name / "g00000001.duckdb", read_only=True) as records:
            found.append(rows_of(spec, records))
    assert found[0].scaled.tobytes() == found[1].scaled.tobytes()
    assert found[0].own.tobytes() == found[1].own.tobytes()


def test_no_bit_of_a_newton_round_over_the_citys_records_does() -> None:
    random = np.random.default_rng()
    features, outcome, weights = (
        random.uniform(-1, 1, (PEOPLE, 5)),
        random.integers(0, 2, PEOPLE).astype(float),
        random.normal(size=5),
    )
    alone = [_stacked(features[n : n + 1], outcome[n : n + 1], weights) for n in range(PEOPLE)]
    assert _stacked(features, outcome, weights).tobytes() == np.concatenate(alone).tobytes()


def test_scores_are_those_of_a_matrix_product() -> None:
    random = np.random.default_rng()
    features, weights = random.normal(size=(50, 7)), random.normal(size=7)
    assert scores(features, weights) == pytest.approx(features @ weights)
    assert scores(np.asfortranarray(features[:1]), weights).tobytes() == scores(features, weights)[:1].tobytes()
