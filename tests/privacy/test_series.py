"""A series of releases: what is predicted is what is measured, whoever answers; and the split is chosen by what is asked of it."""

import math

import numpy as np
import pytest

from privacy.series import Released, Strategy, combined, errors, strategy_for

ALL = frozenset({"a", "b", "c"})
TRUTH = np.array([[10.0, 4.0, 1.0], [20.0, 8.0, 2.0], [30.0, 2.0, 3.0], [5.0, 6.0, 7.0]])
"""Steps by hospitals."""


def release(start, stop, members=ALL, variance=100.0, noise=0.0):
    held = sum(TRUTH[start:stop, "abc".index(each)].sum() for each in members)
    return Released(start, stop, frozenset(members), variance, np.array([held + noise]))


def test_without_noise_a_series_is_the_truth_and_its_totals_add_up():
    found = combined([release(step, step + 1) for step in range(4)] + [release(0, 3), release(0, 4)])
    assert found.steps == (0, 1, 2, 3)
    assert found.values[:, 0] == pytest.approx(TRUTH.sum(axis=1))
    total, variance = found.total(0, 4)
    assert total[0] == pytest.approx(TRUTH.sum())
    assert variance < 100, "one release of the whole says that much alone"
    assert found.misfit == pytest.approx(0, abs=1e-9)
    assert found.freedom == 2


def test_two_questions_about_one_step_and_its_span_by_hand():
    # Two steps with variance 1, their sum with variance 2: the sum of the steps has 2 as well, so together 1.
    found = combined([release(0, 1, variance=1.0), release(1, 2, variance=1.0), release(0, 2, variance=2.0)])
    assert found.total(0, 2)[1] == pytest.approx(1.0)
    assert np.diag(found.covariance) == pytest.approx([0.75, 0.75])


def test_a_step_without_a_question_of_its_own_is_not_told():
    found = combined([release(0, 1), release(2, 3), release(0, 3)])
    assert found.steps == (0, 2)
    assert found.total(0, 3) is None
    assert found.total(0, 1) is not None


def test_a_hospital_that_was_away_is_missed_where_it_was_and_nowhere_else():
    """Without it in the second step, the span of all three teaches the sum of the three steps nothing that would bend it."""
    away = [release(0, 1), release(1, 2, members="ab"), release(0, 2)]
    found = combined(away)
    assert found.values[:, 0] == pytest.approx([15.0, 28.0]), "the second is that of who answered it"
    assert np.diag(found.covariance) == pytest.approx([100.0, 100.0])


MEMBERS = {
    "the same": [ALL, ALL, ALL, ALL],
    "one comes": ["ab", "ab", ALL, ALL],
    "one goes and another comes": ["ab", "ab", "bc", "bc"],
}


@pytest.mark.statistical
@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS)
def test_the_error_predicted_is_the_error_measured(members):
    """20,000 draws: a measured variance off by 5 % has probability < 1e-5 (its standard error is 1 %); the mean is unbiased."""
    random = np.random.default_rng(11)
    shape = [(0, 1, members[0]), (1, 2, members[1]), (2, 3, members[2]), (3, 4, members[3]), (0, 2, members[1]), (0, 4, members[3])]
    variances = [100.0, 120.0, 100.0, 90.0, 150.0, 200.0]
    size = 20_000
    releases = [
        Released(start, stop, frozenset(who), v, release(start, stop, who).values[0] + random.normal(0, math.sqrt(v), size))
        for (start, stop, who), v in zip(shape, variances, strict=True)
    ]
    found = combined(releases)
    truth = np.array([release(step, step + 1, who).values[0] for step, who in enumerate(members)])
    off = found.values - truth[:, None]
    assert off.mean(axis=1) == pytest.approx(np.zeros(4), abs=0.4)
    assert off.var(axis=1) == pytest.approx(np.diag(found.covariance), rel=0.05)
    whole, variance = found.total(0, 4)
    assert (whole - truth.sum()).var() == pytest.approx(variance, rel=0.05)
    if found.freedom:
        assert found.misfit / found.freedom == pytest.approx(1, abs=0.05)


def test_the_errors_of_a_strategy_are_those_of_its_releases():
    strategy = Strategy((1, 3), (0.8, 0.2))
    spans = list(strategy.spans(6))
    assert [span[1:] for span in spans] == [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5), (5, 6), (3, 6)]
    told = errors(strategy, 6, [1.25, 5.0])
    releases = [Released(start, stop, ALL, {1: 1.25, 3: 5.0}[length], np.zeros(1)) for length, start, stop in spans]
    known = [combined([each for each in releases if each.stop <= now]) for now in range(1, 7)]
    assert told.single == pytest.approx(np.mean([each.total(n, n + 1)[1] for n, each in enumerate(known)]))
    assert told.to_date == pytest.approx(np.mean([each.total(0, n + 1)[1] for n, each in enumerate(known)]))
    assert told.window == pytest.approx(np.mean([each.total(n - 2, n + 1)[1] for n, each in enumerate(known) if n >= 2]))
    assert told.whole == pytest.approx(known[-1].total(0, 6)[1])


def test_a_year_of_months_buys_totals_and_costs_single_months_little():
    strategy = strategy_for(12)
    assert sum(strategy.shares) == pytest.approx(1)
    alone = errors(Strategy((1,), (1.0,)), 12, [1.0])
    found = errors(strategy, 12, [1 / share for share in strategy.shares])
    assert [alone.single, alone.window, alone.to_date, alone.whole] == pytest.approx([1, 3, 6.5, 12])
    assert math.sqrt(found.whole / alone.whole) < 0.75
    assert math.sqrt(found.to_date / alone.to_date) < 0.95
    assert math.sqrt(found.single / alone.single) < 1.12
    assert strategy_for(4) == Strategy((1,), (1.0,)), "no span is whole in four steps"
