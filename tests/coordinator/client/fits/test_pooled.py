"""Without noise every fit says what the pooled rows say, in the columns' own units; the references are written out or scipy's."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from coordinator.client.fits.curves import kaplan_meier, rank_test
from tests.coordinator.client.fits.city import City, Columns, named, rows, spec, sums

Floats = npt.NDArray[np.float64]
AGE = {"column": "age", "low": "20", "high": "80", "unit": "years"}
MALE = {"column": "sex", "category": "male"}
SIZE = 3000


@pytest.fixture(scope="module")
def columns() -> Columns:
    return patients(np.random.default_rng(1), SIZE)


def patients(random: np.random.Generator, size: int) -> Columns:
    """A cohort whose every outcome depends on age and sex in a way that is known."""
    age, male = random.uniform(20, 80, size), random.integers(0, 2, size)
    u = (age - 50) / 30
    years = random.uniform(1, 5, size)
    mean = np.exp(-0.8 + 0.5 * u + 0.3 * male) * years
    heterogeneity = random.gamma(2.0, 0.5, size)
    time = random.exponential(1, size) * 60 * np.exp(-(0.8 * u + 0.4 * male))
    censored = random.uniform(10, 80, size)
    return {
        "age": age,
        "sex": np.where(male == 1, "male", "female"),
        "pressure": np.clip(120 + 15 * u + 5 * male + random.normal(0, 10, size), 60, 200),
        "ill": np.where(random.random(size) < 1 / (1 + np.exp(-(-0.5 + 1.2 * u + 0.6 * male))), "yes", "no"),
        "years": years,
        "count": np.minimum(random.poisson(mean), 20).astype(float),
        "spread": np.minimum(random.poisson(np.exp(0.2 + 0.4 * u) * heterogeneity), 20).astype(float),
        "months": np.minimum(time, censored),
        "died": np.where(time <= censored, "yes", "no"),
        "arm": random.choice(["a", "b", "c"], size),
    }


PRESSURE = {"column": "pressure", "low": "60", "high": "200", "unit": "mmHg"}
COUNT = {"column": "count", "low": "0", "high": "20", "unit": ""}
YEARS = {"column": "years", "low": "0.5", "high": "5", "unit": ""}
SPREAD = {"column": "spread", "low": "0", "high": "20", "unit": ""}
MONTHS = {"column": "months", "low": "0", "high": "80", "unit": ""}
ILL, DIED = {"column": "ill", "category": "yes"}, {"column": "died", "category": "yes"}
ARMS = {"column": "arm", "categories": ["a", "b", "c"]}
TWO = {"column": "sex", "categories": ["female", "male"]}
EDGES = ["10", "20", "30", "45", "60"]
FITS: dict[str, tuple[dict[str, Any], int]] = {
    "linear": ({"outcome": PRESSURE, "features": [AGE, MALE]}, 1),
    "logistic": ({"outcome": ILL, "features": [AGE, MALE]}, 7),
    "poisson": ({"outcome": COUNT, "features": [AGE, MALE], "offset": YEARS, "row_clip": None}, 8),
    "negative_binomial": ({"outcome": SPREAD, "features": [AGE], "offset": None, "row_clip": None, "dispersion": "0.5"}, 8),
    "t_test": ({"outcome": PRESSURE, "groups": TWO}, 1),
    "anova": ({"outcome": PRESSURE, "groups": ARMS}, 1),
    "mann_whitney": ({"outcome": PRESSURE, "groups": TWO, "bins": 50}, 1),
    "kaplan_meier": ({"time": MONTHS, "event": DIED, "edges": EDGES, "groups": TWO}, 1),
    "cox": ({"time": MONTHS, "event": DIED, "edges": EDGES, "features": [AGE, MALE], "row_clip": "8"}, 9),
    "roc": ({"outcome": ILL, "features": [AGE, MALE], "weights": ["-2.5", "0.04", "0.6"], "bins": 50}, 1),
    "pca": ({"columns": [AGE, PRESSURE, MONTHS]}, 1),
    "k_means": ({"columns": [AGE, PRESSURE], "clusters": 3}, 10),
}


def fitted(kind: str, columns: Columns, sd: float = 0.0, **changes: Any) -> Any:
    fields, rounds = FITS[kind]
    return City(sd).fit(spec(kind, **{**fields, **changes}), columns, rounds)


def design(columns: Columns) -> Floats:
    return np.column_stack([np.ones(len(columns["age"])), columns["age"], columns["sex"] == "male"]).astype(float)


NAMES = ("intercept", "age", "sex=male")


def test_linear_is_least_squares(columns: Columns) -> None:
    x, y = design(columns), columns["pressure"]
    weights, left, *_ = np.linalg.lstsq(x, y, rcond=None)
    errors = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * left[0] / (SIZE - 3))
    found = fitted("linear", columns)
    assert [each for each, _ in named(found, NAMES)] == pytest.approx(weights.tolist(), rel=1e-3)
    assert [each for _, each in named(found, NAMES)] == pytest.approx(errors.tolist(), rel=1e-3)
    assert found.figures["r_squared"] == pytest.approx(1 - left[0] / ((y - y.mean()) ** 2).sum(), abs=1e-3)
    assert found.figures["rows"] == SIZE


def _newton(x: Floats, gradient: Any) -> tuple[Floats, Floats]:
    """Plain Newton on the pooled rows; gradient and information of the linear score."""
    weights = np.zeros(x.shape[1])
    for _ in range(60):
        residual, information = gradient(x @ weights)
        hessian = x.T @ (x * information[:, None])
        step = np.linalg.solve(hessian, x.T @ residual)
        weights = weights + step * min(1.0, 1.0 / np.linalg.norm(step * x.std(axis=0).clip(0.1)))
    return weights, np.sqrt(np.diag(np.linalg.inv(hessian)))


def _same(found: Any, names: tuple[str, ...], reference: tuple[Floats, Floats], share: float = 0.03) -> None:
    """Within this share of a standard error: what is left is each contribution's rounding to its scale."""
    weights, errors = (np.array(each) for each in zip(*named(found, names), strict=True))
    assert (np.abs(weights - reference[0]) < share * reference[1]).all(), (weights, reference[0])
    assert errors.tolist() == pytest.approx(reference[1].tolist(), rel=0.01)


def test_logistic_is_the_maximum_of_the_likelihood(columns: Columns) -> None:
    y = (columns["ill"] == "yes").astype(float)

    def gradient(score: Floats) -> tuple[Floats, Floats]:
        chance = 1 / (1 + np.exp(-score))
        return y - chance, chance * (1 - chance)

    _same(fitted("logistic", columns), NAMES, _newton(design(columns), gradient))


def test_poisson_counts_the_exposure(columns: Columns) -> None:
    y, years = columns["count"], columns["years"]
    reference = _newton(design(columns), lambda score: (y - years * np.exp(score), years * np.exp(score)))
    _same(fitted("poisson", columns), NAMES, reference)


def test_negative_binomial_at_its_dispersion(columns: Columns) -> None:
    y = columns["spread"]

    def gradient(score: Floats) -> tuple[Floats, Floats]:
        mean = np.exp(score)
        return (y - mean) / (1 + 0.5 * mean), mean / (1 + 0.5 * mean)

    _same(fitted("negative_binomial", columns), NAMES[:2], _newton(design(columns)[:, :2], gradient), 0.1)


def test_cox_on_the_grid_is_near_the_partial_likelihood(columns: Columns) -> None:
    """Breslow's partial likelihood over the continuous times; the grid moves it by less than a third of a standard error."""
    order = np.argsort(-columns["months"])
    x, died = design(columns)[order, 1:], (columns["died"] == "yes")[order]
    x = (x - [50, 0]) / [30, 1]
    weights = np.zeros(2)
    for _ in range(20):
        risk = np.exp(x @ weights)
        whole, first = np.cumsum(risk), np.cumsum(x * risk[:, None], axis=0)
        second = np.cumsum(x[:, :, None] * x[:, None, :] * risk[:, None, None], axis=0)
        centre = first / whole[:, None]
        hessian = (second / whole[:, None, None] - centre[:, :, None] * centre[:, None, :])[died].sum(axis=0)
        weights = weights + np.linalg.solve(hessian, (x - centre)[died].sum(axis=0))
    errors = np.sqrt(np.diag(np.linalg.inv(hessian))) / [30, 1]
    found = named(fitted("cox", columns, edges=[str(n) for n in range(4, 81, 4)]), NAMES[1:])
    for (value, error), weight, reference in zip(found, weights / [30, 1], errors, strict=True):
        assert abs(value - weight) < reference / 3
        assert error == pytest.approx(reference, rel=0.05)


def test_t_test_is_welch_s(columns: Columns) -> None:
    women, men = (columns["pressure"][columns["sex"] == sex] for sex in ("female", "male"))
    reference, found = stats.ttest_ind(women, men, equal_var=False), fitted("t_test", columns)
    assert found.figures["t"] == pytest.approx(reference.statistic, rel=2e-3)
    assert found.figures["df"] == pytest.approx(reference.df, rel=2e-3)
    assert found.figures["p"] == pytest.approx(reference.pvalue, rel=0.2)
    assert named(found, ["difference"])[0][0] == pytest.approx(women.mean() - men.mean(), rel=2e-3)


def test_anova_is_fisher_s(columns: Columns) -> None:
    reference = stats.f_oneway(*(columns["pressure"][columns["arm"] == arm] for arm in "abc"))
    found = fitted("anova", columns)
    assert found.figures["F"] == pytest.approx(reference.statistic, rel=0.02)
    assert found.figures["p"] == pytest.approx(reference.pvalue, rel=0.02)
    assert (found.figures["df"], found.figures["df_within"]) == (2, SIZE - 3)


def test_mann_whitney_is_the_share_of_pairs(columns: Columns) -> None:
    binned = np.floor((columns["pressure"] - 60) / 140 * 50)
    women, men = binned[columns["sex"] == "female"], binned[columns["sex"] == "male"]
    share = stats.mannwhitneyu(men, women).statistic / (len(men) * len(women))
    assert named(fitted("mann_whitney", columns), ["second above first"])[0][0] == pytest.approx(share, abs=1e-6)


def _curve(time: Floats, died: npt.NDArray[np.bool_]) -> list[float]:
    interval, survived = np.searchsorted([float(each) for each in EDGES], time), []
    for n in range(len(EDGES)):
        survived.append(1 - (died & (interval == n)).sum() / (interval >= n).sum())
    return np.cumprod(survived).tolist()


def test_kaplan_meier_and_log_rank_on_the_grid(columns: Columns) -> None:
    found, died = fitted("kaplan_meier", columns), columns["died"] == "yes"
    statistic, variance = 0.0, 0.0
    interval = np.searchsorted([float(each) for each in EDGES], columns["months"])
    women = columns["sex"] == "female"
    for sex in ("female", "male"):
        chosen = columns["sex"] == sex
        told = named(found, [f"{sex} to {edge}" for edge in EDGES])
        assert [each for each, _ in told] == pytest.approx(_curve(columns["months"][chosen], died[chosen]), abs=1e-9)
    for n in range(len(EDGES)):
        events, risk, mine = (died & (interval == n)).sum(), (interval >= n).sum(), (women & (interval >= n)).sum()
        statistic += (died & women & (interval == n)).sum() - events * mine / risk
        variance += events * mine / risk * (1 - mine / risk) * (risk - events) / (risk - 1)
    assert found.figures["chi_square"] == pytest.approx(statistic**2 / variance, rel=1e-9)
    assert found.figures["p"] == pytest.approx(stats.chi2.sf(statistic**2 / variance, 1), rel=1e-6)


def test_a_group_that_is_lost_in_noise_has_no_part_in_the_log_rank_test() -> None:
    """Two groups of people, and one of nothing but noise: the test is that of the two, with their one degree of freedom."""
    random, grid, sd = np.random.default_rng(4), 3, 10.0
    two = np.array([[120, 90, 60, 40, 40, 40, 300], [60, 50, 40, 40, 40, 40, 420]], np.float64)
    nobody = random.normal(0, sd, 7).round()
    alone, beside = rank_test(two, grid, sd), rank_test(np.vstack([two, nobody]), grid, sd)
    assert alone == beside
    assert alone is not None
    assert alone["df"] == 1
    assert rank_test(np.vstack([two[:1], nobody]), grid, sd) is None
    both = kaplan_meier(
        spec("kaplan_meier", time=MONTHS, event=DIED, edges=["10", "20", "30"], groups=ARMS),
        np.vstack([two, nobody]).reshape(-1),
        sd,
    )
    assert both.figures["chi_square"] == alone["chi_square"]


def test_roc_is_the_share_of_pairs_by_the_public_score(columns: Columns) -> None:
    chance = 1 / (1 + np.exp(-(design(columns) @ [-2.5, 0.04, 0.6])))
    ill = columns["ill"] == "yes"
    share = stats.mannwhitneyu(chance[ill], chance[~ill]).statistic / (ill.sum() * (~ill).sum())
    found = fitted("roc", columns)
    assert named(found, ["AUC"])[0][0] == pytest.approx(share, abs=2e-3)
    assert named(found, ["observed - expected"])[0][0] == pytest.approx(ill.mean() - chance.mean(), abs=1e-3)


def test_components_are_those_of_the_covariance(columns: Columns) -> None:
    held = np.column_stack([(columns["age"] - 50) / 30, (columns["pressure"] - 130) / 70, columns["months"] / 40 - 1])
    variances = np.linalg.eigvalsh(np.cov(held.T, bias=True))[::-1]
    told = named(fitted("pca", columns), ["variance 1", "variance 2", "variance 3"])
    assert [each for each, _ in told] == pytest.approx(variances.tolist(), abs=1e-3)


def test_clusters_are_a_fixed_point_of_lloyd_s_rounds() -> None:
    random = np.random.default_rng(5)
    true = np.array([[30.0, 90.0], [45.0, 170.0], [70.0, 120.0]])
    held = np.concatenate([random.normal(each, [4, 8], (400, 2)) for each in true])
    found = fitted("k_means", {"age": held[:, 0], "pressure": held[:, 1]})
    told = [named(found, [f"cluster {n} {name}" for name in ("age", "pressure")]) for n in (1, 2, 3)]
    centres = sorted([[value for value, _ in each] for each in told])
    assert np.array(centres) == pytest.approx(true, abs=1.5)


@pytest.mark.parametrize("kind", FITS)
def test_a_standard_error_counts_the_noise(kind: str, columns: Columns) -> None:
    """What the coverage below measures can fail: the noise's part is there, for every estimate."""
    quiet, loud = fitted(kind, columns), fitted(kind, columns, sd=4.0)
    pairs = zip(quiet.estimates, loud.estimates, strict=False)
    assert all(b.standard_error > a.standard_error for a, b in pairs if a.name == b.name)


@pytest.mark.parametrize("kind", FITS)
def test_uneven_hospitals_sum_to_the_pooled_rows(kind: str, columns: Columns) -> None:
    """One with a single class, one with 46 rows: their sums are the pooled ones to the last unit."""
    fit = spec(kind, **FITS[kind][0])
    one_class = (columns["ill"] == "yes") & (columns["died"] == "yes") & (columns["sex"] == "male")
    few = ~one_class & (np.cumsum(~one_class) <= 46)
    parts = [one_class, few, ~one_class & ~few]
    numbers = fit.limited(fit.start() + 0.1)
    held = [sums(fit, rows(fit, {name: column[part] for name, column in columns.items()}), numbers) for part in parts]
    assert np.sum(held, axis=0).tolist() == sums(fit, rows(fit, columns), numbers).tolist()


@pytest.mark.parametrize("kind", ["poisson", "cox"])
def test_two_rounds_of_a_private_fit_have_not_converged_and_its_usual_rounds_have(kind: str, columns: Columns) -> None:
    """With noise: a step within 5 standard errors is what noise alone makes. A false alarm below 1e-5 over all estimates."""
    fields, rounds = FITS[kind]
    assert [City(1.0).fit(spec(kind, **fields), columns, each).converged for each in (2, rounds)] == [False, True]
