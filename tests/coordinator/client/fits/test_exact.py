"""Exact fits over registered tables equal the pooled fit: UCI heart, held by five hospitals, each with its own records file."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pytest

from coordinator.client.fits import Result, read_result
from coordinator.client.training import EXACT_ROUNDS
from coordinator.training import next_input, trained_values
from hospital_node.fits import fit_sums
from hospital_node.records.schema import open_read_only
from hospital_node.tables.registering import add_table
from hospital_node.tables.schema import read_schema
from protocols.asked import Asked
from protocols.errors import MalformedBytes
from protocols.exact import LARGEST_ENTRY, as_exact
from protocols.fits import Fit, read
from protocols.fits.shape import EXACT_SCALE
from tests.coordinator.client.fits.city import spec
from tests.coordinator.client.fits.test_pooled import FITS
from tests.coordinator.test_training import BINDING
from tests.protocols.examples import exact_query

Floats = npt.NDArray[np.float64]
HEART = Path(__file__).parents[5] / "shared" / "data" / "uci_heart"
NAMES = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal", "num")
NUMBERS = {"age": (20, 80), "trestbps": (0, 200), "chol": (0, 610), "thalach": (60, 210), "oldpeak": (-3, 7)}
CATEGORIES = {"sex": "01", "cp": "1234", "fbs": "01", "restecg": "012", "exang": "01", "disease": "01"}
USED = [*NUMBERS, "sex", "cp", "fbs", "restecg", "exang"]
PUBLISHED = {"age": (0.02133, 0.01262), "sex=1": (1.2996, 0.2569), "exang=1": (1.0081, 0.2311), "cp=4": (1.4316, 0.4403)}
"""Weight and standard error, from the pooled fit of another program."""


def number(name: str) -> dict[str, Any]:
    return {"column": name, "low": str(NUMBERS[name][0]), "high": str(NUMBERS[name][1]), "unit": ""}


FEATURES: list[dict[str, Any]] = [
    *map(number, NUMBERS),
    *({"column": name, "category": each} for name in ("sex", "cp", "fbs", "restecg", "exang") for each in CATEGORIES[name][1:]),
]


def patients(site: str) -> list[dict[str, str]]:
    lines = (HEART / f"processed.{site}.data").read_text().split()
    found = [dict(zip(NAMES, line.split(","), strict=True)) for line in lines]
    return [{**row, "disease": str(int(float(row["num"]) > 0))} for row in found]


def hospitals() -> list[list[dict[str, str]]]:
    """Five, so that the floor of exact mode holds: Cleveland's patients are in two of them."""
    cleveland = patients("cleveland")
    return [cleveland[:150], cleveland[150:], *map(patients, ("hungarian", "switzerland", "va"))]


def registered(folder: Path, rows: list[dict[str, str]]) -> duckdb.DuckDBPyConnection:
    columns = [*NUMBERS, *CATEGORIES]
    lines = [",".join(_cell(name, row[name]) for name in columns) for row in rows]
    stated = ['catalogue = "heart-2026"', 'title = "heart disease"']
    for name, (low, high) in NUMBERS.items():
        stated.append(f'[[column]]\nname = "{name}"\ntype = "number"\nlow = "{low}"\nhigh = "{high}"\nmissing = ["?"]')
    for name, values in CATEGORIES.items():
        listed = json.dumps(list(values))
        stated.append(f'[[column]]\nname = "{name}"\ntype = "category"\ncategories = {listed}\nmissing = ["?"]')
    folder.mkdir(parents=True)
    (folder / "heart.csv").write_text("\n".join([",".join(columns), *lines, ""]))
    (folder / "heart.toml").write_text("\n".join(stated))
    add_table(folder / "records", "heart", folder / "heart.csv", read_schema(folder / "heart.toml"))
    return open_read_only(folder / "records")


def _cell(name: str, text: str) -> str:
    return text if text == "?" or name in NUMBERS else str(int(float(text)))


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[duckdb.DuckDBPyConnection]]:
    if not HEART.exists():
        pytest.skip("the data of UCI heart is not here")
    path = tmp_path_factory.mktemp("heart")
    with ExitStack() as stack:
        yield [stack.enter_context(registered(path / str(n), rows)) for n, rows in enumerate(hospitals())]


def heart_fit(**changes: Any) -> dict[str, Any]:
    head = {"version": 2, "fit": "logistic", "table": "heart", "catalogue": "heart-2026", "period": None, "rows_per_patient": 1}
    return {**head, "outcome": {"column": "disease", "category": "1"}, "features": FEATURES, **changes}


def asked(fit: dict[str, Any], rounds: int = EXACT_ROUNDS) -> Asked:
    return Asked.of(exact_query(spec=as_exact(fit), rounds=rounds))


def rounds_of(fit: Fit, held: list[duckdb.DuckDBPyConnection], rounds: int) -> Result:
    """Every round as nodes and coordinator make it: the input as bytes, the sums as integers."""
    numbers, vector, binding = fit.start(), np.zeros(fit.width, np.int64), replace(BINDING, variances=(0,))
    for _ in range(rounds):
        sent = fit.decode(fit.encode(numbers))
        vector = np.sum([fit_sums(fit, records, sent) for records in held], axis=0)
        numbers = next_input(fit, numbers, vector, binding)
    return read_result(fit, trained_values(fit, numbers, vector), asked(fit.to_json()).pieces[0].variance)


def pooled() -> tuple[Floats, Floats]:
    """Weights and standard errors by Newton's method on the rows of all hospitals, in the columns' own units."""
    whole = [row for rows in hospitals() for row in rows if "?" not in [row[name] for name in USED]]
    values = [[float(row[each["column"]]) if "low" in each else float(float(row[each["column"]]) == float(each["category"]))
               for each in FEATURES] for row in whole]  # fmt: skip
    x = np.column_stack([np.ones(len(whole)), np.array(values)])
    y, weights = np.array([float(row["disease"]) for row in whole]), np.zeros(len(FEATURES) + 1)
    assert (len(whole), y.sum()) == (740, 383)
    for _ in range(30):
        chance = 1 / (1 + np.exp(-x @ weights))
        hessian = x.T @ (x * (chance * (1 - chance))[:, None])
        weights = weights + np.linalg.solve(hessian, x.T @ (y - chance))
    return weights, np.sqrt(np.diag(np.linalg.inv(hessian)))


def test_the_exact_logistic_of_five_hospitals_is_the_pooled_one(held: list[duckdb.DuckDBPyConnection]) -> None:
    fit = asked(heart_fit()).spec
    assert isinstance(fit, Fit)
    found = {each.name: (each.value, each.standard_error) for each in rounds_of(fit, held, EXACT_ROUNDS).estimates}
    weights, errors = pooled()
    got = np.array(list(found.values()))
    assert np.abs(got[:, 0] - weights).max() < 1e-6
    assert np.abs(got[:, 1] - errors).max() < 1e-4
    for name, (weight, error) in PUBLISHED.items():
        assert found[name] == (pytest.approx(weight, abs=6e-5), pytest.approx(error, abs=6e-5))


def test_a_private_fits_scale_would_not_reach_it(held: list[duckdb.DuckDBPyConnection]) -> None:
    """The claim above can fail: the same rounds at the scale that private rounds have."""
    found = rounds_of(read(heart_fit()), held, EXACT_ROUNDS)
    assert np.abs(np.array([each.value for each in found.estimates]) - pooled()[0]).max() > 1e-6


def test_an_exact_fit_is_finer_unclipped_and_within_the_ring() -> None:
    question = asked(heart_fit())
    fit = question.spec
    assert isinstance(fit, Fit)
    assert (question.is_exact, fit.scale, question.variances) == (True, EXACT_SCALE, (0,))
    assert [each.cell_max for each in question.pieces] == [LARGEST_ENTRY]
    assert fit.to_json() == heart_fit()


@pytest.mark.parametrize("kind", FITS)
def test_every_kind_of_fit_has_an_exact_mode_with_one_reading(kind: str) -> None:
    fields, rounds = FITS[kind]
    fields = {**fields, **({"row_clip": None} if "row_clip" in fields else {})}
    fit = asked(spec(kind, **fields).to_json(), rounds).spec
    assert isinstance(fit, Fit)
    assert fit.is_exact


def test_a_fit_that_shortens_rows_and_one_over_visits_have_no_exact_mode() -> None:
    fields, rounds = FITS["cox"]
    with pytest.raises(MalformedBytes, match="exact mode shortens no row"):
        asked(spec("cox", **fields).to_json(), rounds)
    period = {"from": "2026-10-01", "to": "2026-11-01"}
    visits = {"version": 1, "fit": "logistic", "table": "visits", "outcome": "IMP", "features": ["age"], "period": period}
    with pytest.raises(MalformedBytes, match="has no exact mode: register a table"):
        asked(visits, 6)


def test_nobody_states_the_mode_inside_the_fit() -> None:
    with pytest.raises(MalformedBytes):
        asked(heart_fit(is_exact=True))


def test_a_value_beyond_its_public_bounds_withholds_the_sum(held: list[duckdb.DuckDBPyConnection]) -> None:
    narrow = [{**each, "high": "60"} if each["column"] == "age" else each for each in FEATURES]
    fit = asked(heart_fit(features=narrow)).spec
    assert isinstance(fit, Fit)
    with pytest.raises(OverflowError, match="beyond its public bounds"):
        fit_sums(fit, held[0], fit.start())
