"""A series of releases: what is predicted is what is measured, whoever answers; and the split is chosen by what is asked of it."""

import math
from dataclasses import astuple
from fractions import Fraction

import numpy as np
import pytest

from privacy.factorisation import OWN, WHOLE, Part, causal, factorised, optimum, workload
from privacy.series import (
    SCALES,
    Released,
    begins_after,
    combined,
    errors,
    independent,
    spans,
    unit_variances,
    weighted,
)

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


def test_the_errors_of_a_plan_are_those_of_its_releases():
    parts = (
        Part(0, 1, Fraction(1)),
        Part(1, 2, Fraction(4, 5)),
        Part(2, 3, Fraction(4, 5)),
        Part(0, 3, Fraction(1, 5)),
        Part(1, 4, Fraction(1, 2), (3, 9, 64)),
        Part(3, 4, Fraction(1)),
    )
    variances = [1.25, 1.5, 1.25, 5.0, 5000.0, 2.0]
    told = errors(parts, 4, variances)
    releases = [
        Released(part.start, part.stop, ALL, v, np.zeros(1), part.weights) for part, v in zip(parts, variances, strict=True)
    ]
    known = [combined([each for each in releases if each.stop <= now]) for now in range(1, 5)]
    assert told.single == pytest.approx(np.mean([each.total(n, n + 1)[1] for n, each in enumerate(known)]))
    assert told.to_date == pytest.approx(np.mean([each.total(0, n + 1)[1] for n, each in enumerate(known)]))
    assert told.window == pytest.approx(np.mean([each.total(n - 2, n + 1)[1] for n, each in enumerate(known) if n >= 2]))
    assert told.whole == pytest.approx(known[-1].total(0, 4)[1])


def relative(parts, steps):
    """Standard deviations beside those of independent noise: of a step, of three, of the total to date, of the whole."""
    found, alone = (errors(each, steps, unit_variances(each)) for each in (parts, independent(steps)))
    pairs = zip(astuple(found), astuple(alone), strict=True)
    return [math.sqrt(mine / theirs) for mine, theirs in pairs]


def test_twelve_spans_buy_totals_and_cost_single_steps_little():
    parts = spans(12)
    assert [(each.start, each.stop) for each in parts[:5]] == [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4)]
    assert all(sum(each.paid(step) for each in parts) == 1 for step in range(12))
    assert relative(parts, 12) == pytest.approx([1.10, 0.99, 0.91, 0.74], abs=0.01)
    assert spans(4) == independent(4), "no span is whole in four steps"


@pytest.mark.parametrize("steps", range(1, 13))
@pytest.mark.parametrize("scale", SCALES)
def test_no_step_of_a_factorisation_pays_more_than_its_price_and_each_has_a_question_of_its_own(steps, scale):
    parts = factorised(steps, scale)
    assert all(sum(each.paid(step) for each in parts) <= WHOLE for step in range(steps))
    assert max(sum(each.paid(step) for each in parts) for step in range(steps)) > 0.998
    own = [each for each in parts if each.stop == each.start + 1]
    assert [each.start for each in own] == list(range(steps))
    assert all(each.share >= OWN and not each.weights for each in own)
    assert [each.stop for each in parts] == sorted(each.stop for each in parts), "none waits for a later step"
    assert all(len(each.weights) == each.stop and max(each.weights) == scale for each in parts if each not in own)


def test_a_factorisation_of_twelve_steps_has_the_errors_of_the_optimum_but_for_what_a_question_of_each_step_costs():
    """The published optimum has 1.106, 0.895, 0.696, 0.592. Rounded to units of 1/64, with two fifths of each step alone:"""
    assert relative(factorised(12, 64), 12) == pytest.approx([1.133, 0.916, 0.720, 0.595], abs=0.001)
    assert all(mine < theirs for mine, theirs in zip(relative(factorised(12, 8), 12)[1:], relative(spans(12), 12)[1:], strict=True))
    whole = optimum(workload(12, (3,)))
    bare = np.linalg.inv(causal(whole))
    assert np.sqrt((bare**2).sum(axis=1).mean()) < relative(factorised(12, 64), 12)[0] < 1.05 * relative([*_bare(whole)], 12)[0]


def _bare(whole):
    """The factor itself, unrounded up to 1/1000 and without questions of single steps."""
    for step, row in enumerate(causal(whole)):
        top = row[: step + 1].max()
        yield Part(0, step + 1, Fraction(top**2), tuple(max(1, round(1000 * each / top)) for each in row[: step + 1]))


def test_the_weights_of_a_year_are_these_on_every_machine():
    """A question is found again by its weights: another rounding elsewhere would ask and pay twice."""
    assert [each.weights for each in factorised(12, 64) if each.weights][:4] == [
        (27, 64),
        (27, 33, 64),
        (11, 24, 30, 64),
        (12, 10, 22, 30, 64),
    ]
    assert [str(each.share) for each in factorised(12, 64)][:5] == ["3769/5000", "2/5", "7/20", "2/5", "981/2500"]


def test_weighted_sums_begin_anew_after_others_answered_and_the_old_ones_stay_as_they_were():
    steps, before, after = 12, frozenset("ab"), frozenset("abc")
    parts = weighted(steps, 64)
    answered = {each: before if each.stop <= 5 else after for each in parts if each.stop <= 7}
    begins = begins_after(parts, answered, (0,), steps)
    assert begins == (0, 6), "the sum to the sixth step was the first that others answered"
    anew = weighted(steps, 64, begins)
    assert [each for each in anew if each.stop <= 6] == [each for each in parts if each.stop <= 6]
    assert [each for each in anew if each.stop > 6] == [each.later(6) for each in factorised(6, 64)]
    assert all(sum(each.paid(step) for each in anew) <= WHOLE for step in range(steps)), "nobody pays twice"
    assert begins_after(anew, {each: after for each in anew if each.stop > 6}, begins, steps) == begins
    assert begins_after(parts, {}, (0,), steps) == (0,)


def _truth(part, members, held):
    return sum(held["abc".index(each), step] * part.of(step) for each in members for step in range(part.start, part.stop))


COMINGS = {
    "the same": ["abc"] * 6,
    "one comes": ["ab", "ab", "ab", "abc", "abc", "abc"],
    "one is away once": ["abc", "abc", "ab", "abc", "abc", "abc"],
    "one goes and another comes": ["ab", "ab", "ab", "bc", "bc", "bc"],
}


@pytest.mark.statistical
@pytest.mark.parametrize("members", COMINGS.values(), ids=COMINGS)
def test_a_factorised_series_is_unbiased_and_its_stated_error_is_the_measured_one(members):
    """20,000 draws: a measured variance off by 5 % has probability < 1e-5 (its standard error is 1 %); the mean is unbiased."""
    random, size, begins = np.random.default_rng(7), 20_000, (0,)
    held = np.arange(18.0).reshape(3, 6) ** 1.5
    while True:  # as it is asked: step by step, anew where others came
        parts = weighted(6, 64, begins)
        later = begins_after(parts, {each: frozenset(members[each.stop - 1]) for each in parts}, begins, 6)
        if later == begins:
            break
        begins = later
    releases = []
    for part, variance in zip(parts, unit_variances(parts), strict=True):
        who = members[part.stop - 1]
        noise = random.normal(0, math.sqrt(100 * variance), size)
        releases.append(
            Released(part.start, part.stop, frozenset(who), 100 * variance, _truth(part, who, held) + noise, part.weights)
        )
    found = combined(releases)
    truth = np.array([_truth(Part(step, step + 1, Fraction(1)), who, held) for step, who in enumerate(members)])
    off = found.values - truth[:, None]
    assert off.mean(axis=1) == pytest.approx(np.zeros(6), abs=0.8)
    assert off.var(axis=1) == pytest.approx(np.diag(found.covariance), rel=0.05)
    whole, variance = found.total(0, 6)
    assert (whole - truth.sum()).var() == pytest.approx(variance, rel=0.05)
    assert found.misfit / found.freedom == pytest.approx(1, abs=0.05)
