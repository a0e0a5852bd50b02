"""Exact fits over registered tables equal the pooled fit: UCI heart at five hospitals, TCGA-BRCA in six regions, each with its own
records file. Another city and real processes: `tests/simulations/test_heart_exact.py`."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pytest

from coordinator.client.fits import Result
from coordinator.client.training import EXACT_ROUNDS
from hospital_node.fits import fit_sums
from protocols.asked import Asked
from protocols.errors import MalformedBytes
from protocols.exact import LARGEST_ENTRY, as_exact
from protocols.fits import Fit, read
from protocols.fits.shape import EXACT_SCALE
from simulations.research import brca, heart
from simulations.research.rounds import by_rounds
from tests.coordinator.client.fits.city import spec
from tests.coordinator.client.fits.test_pooled import FITS
from tests.hospital_node.records.resources import SHARED
from tests.protocols.examples import exact_query

Floats = npt.NDArray[np.float64]
FOLDER = SHARED / "uci_heart"
BRCA = SHARED / "tcga_brca"
PUBLISHED = {"age": (0.02133, 0.01262), "sex=1": (1.2996, 0.2569), "exang=1": (1.0081, 0.2311), "cp=4": (1.4316, 0.4403)}
"""Weight and standard error, from the pooled fit of another program."""
SMALLEST = 1e-6
"""How far an exact estimate may be from the pooled one; a standard error may be 1e-4 away."""
Held = list[duckdb.DuckDBPyConnection]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    if not FOLDER.exists():
        pytest.skip("the data of UCI heart is not here")
    path = tmp_path_factory.mktemp("heart")
    with ExitStack() as stack:
        yield [stack.enter_context(heart.COHORT.registered(path / str(n), rows)) for n, rows in enumerate(heart.hospitals(FOLDER))]


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    if not BRCA.exists():
        pytest.skip("the data of TCGA-BRCA is not here")
    path = tmp_path_factory.mktemp("brca")
    with ExitStack() as stack:
        yield [stack.enter_context(brca.COHORT.registered(path / str(n), rows)) for n, rows in enumerate(brca.hospitals(BRCA))]


def asked(fit: dict[str, Any], rounds: int = EXACT_ROUNDS) -> Asked:
    return Asked.of(exact_query(spec=as_exact(fit), rounds=rounds))


def exactly(fields: dict[str, Any], held: Held, rounds: int = EXACT_ROUNDS) -> Result:
    fit = asked(fields, rounds).spec
    assert isinstance(fit, Fit)
    return by_rounds(fit, held, rounds)


def apart(result: Result, reference: tuple[Floats, Floats]) -> tuple[float, float]:
    """The largest differences of estimates and of standard errors."""
    got = np.array([(each.value, each.standard_error) for each in result.estimates])
    return float(np.abs(got[:, 0] - reference[0]).max()), float(np.abs(got[:, 1] - reference[1]).max())


def test_the_exact_logistic_of_five_hospitals_is_the_pooled_one(held: Held) -> None:
    found = exactly(heart.fit(), held)
    values, errors = apart(found, heart.pooled(heart.hospitals(FOLDER)))
    assert (values < SMALLEST, errors < 1e-4, found.converged) == (True, True, True)
    named = {each.name: (each.value, each.standard_error) for each in found.estimates}
    for name, (weight, error) in PUBLISHED.items():
        assert named[name] == (pytest.approx(weight, abs=6e-5), pytest.approx(error, abs=6e-5))


def test_a_private_fits_scale_would_not_reach_it(held: Held) -> None:
    """The claim above can fail: the same rounds at the scale that private rounds have."""
    found = by_rounds(read(heart.fit()), held, EXACT_ROUNDS)
    assert apart(found, heart.pooled(heart.hospitals(FOLDER)))[0] > SMALLEST


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_stratified_by_hospital_is_the_pooled_stratified_one(regions: Held, ties: str) -> None:
    found = exactly(brca.stratified(ties), regions)
    values, errors = apart(found, brca.pooled_stratified(brca.hospitals(BRCA), ties))
    assert (values < SMALLEST, errors < SMALLEST, found.converged) == (True, True, True)


def test_cox_on_the_public_grid_is_the_pooled_one(regions: Held) -> None:
    found = exactly(brca.on_grid(), regions)
    values, errors = apart(found, brca.pooled_on_grid(brca.hospitals(BRCA)))
    assert (values < SMALLEST, errors < SMALLEST, found.converged) == (True, True, True)


def test_cox_of_another_strata_is_another_fit(regions: Held) -> None:
    """Strata matter here by more than what is claimed above: a pooled fit of one stratum is told from it."""
    found = exactly(brca.stratified(), regions)
    whole = [[row for rows in brca.hospitals(BRCA) for row in rows]]
    assert apart(found, brca.pooled_stratified(whole))[0] > 1e-3


def test_two_rounds_have_not_converged_and_sixteen_have(held: Held) -> None:
    assert [exactly(heart.fit(), held, rounds).converged for rounds in (2, 16)] == [False, True]


def test_a_column_that_separates_the_outcome_never_converges(tmp_path: Path) -> None:
    rows = [{**_blank(), "sex": each, "disease": each} for each in "0011"]
    with ExitStack() as stack:
        five = [stack.enter_context(heart.COHORT.registered(tmp_path / str(n), rows)) for n in range(5)]
        found = exactly(heart.fit(features=heart.COHORT.dummies("sex")), five)
    assert found.converged is False


def test_what_the_records_do_not_determine_is_told_and_the_rest_is_the_pooled_fit(held: Held) -> None:
    """A category that nobody complete has, beside one column more: the other estimates are those of the fit without it."""
    fewer = [each for each in heart.FEATURES if each["column"] not in ("cp", "restecg")]
    plain = exactly(heart.fit(features=fewer), held)
    nobody = {"column": "cp", "category": "nobody"}
    found = exactly(heart.fit(features=[*fewer, nobody]), held)
    assert found.undetermined == ["cp=nobody"]
    assert found.to_json()["coefficients"][-1] == dict.fromkeys(found.to_json()["coefficients"][-1]) | {"name": "cp=nobody"}
    pairs = zip(found.estimates, plain.estimates, strict=False)
    assert max(abs(a.value - b.value) for a, b in pairs) < SMALLEST


def _blank() -> dict[str, str]:
    return dict.fromkeys(heart.COHORT.columns, "?")


def test_an_exact_fit_is_finer_unclipped_and_within_the_ring() -> None:
    question = asked(heart.fit())
    fit = question.spec
    assert isinstance(fit, Fit)
    assert (question.is_exact, fit.scale, question.variances) == (True, EXACT_SCALE, (0,))
    assert [each.cell_max for each in question.pieces] == [LARGEST_ENTRY]
    assert fit.to_json() == heart.fit()


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
        asked(heart.fit(is_exact=True))


def test_a_value_beyond_its_public_bounds_withholds_the_sum(held: Held) -> None:
    narrow = [{**each, "high": "60"} if each["column"] == "age" else each for each in heart.FEATURES]
    fit = asked(heart.fit(features=narrow)).spec
    assert isinstance(fit, Fit)
    with pytest.raises(OverflowError, match="beyond its public bounds"):
        fit_sums(fit, held[0], fit.start())
