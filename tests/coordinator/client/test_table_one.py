"""A table one and a survival curve as a reader has them: the right numbers under the right heads, in words and for machines."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from coordinator.client import render
from coordinator.client.chart_curve import figure_of_curves
from coordinator.client.checked import Verified
from coordinator.client.export import arrow_table, as_json
from coordinator.client.table_one import groups, lines
from coordinator.client.texts import Say
from protocols.query import Language, Layout
from protocols.query.sql import parse_sql
from tests.coordinator.client.support.answers import hand_made
from tests.coordinator.client.support.bureau import Bureau

PERIOD = "date >= DATE '2025-01-01' AND date < DATE '2025-04-01'"
TABLE = f"SELECT sex, TABLE_ONE(CLAMP(age, 0, 100, 10), visit_class) FROM visits WHERE {PERIOD} AND sex IN ('F', 'M') GROUP BY sex"
CURVE = (
    f"SELECT sex, KAPLAN_MEIER(HAS(visits, visit_class = 'IMP', 1, 60), [30, 60], DATE '2025-05-01') FROM visits WHERE {PERIOD} "
    "AND sex IN ('F', 'M') GROUP BY sex"
)
BINS = [[0, 100, 200, 100, *[0] * 6], [0, 0, 50, 100, 50, *[0] * 5]]
CLASSES = [[300, 50, 40, 10, 0], [100, 60, 30, 5, 15]]


def told(noise: int = 1) -> Verified:
    """400 women of 25 on average and 10 more without an age; 200 men of 35, and 10 more."""
    values = [410, 210]
    values += [-3200, -960]  # steps of 3.125 from 50: 25 years are 8 steps down, 35 years 4.8
    values += [(64 + 4) * 400, round((4.8**2 + 9) * 200)]
    values += [400, 10, 200, 10, *(n for row in BINS for n in row), *(n for row in CLASSES for n in row)]
    spec = parse_sql(TABLE)
    assert [len(values), 2] == [Layout.of(spec).dimension, spec.grid().size]
    return hand_made(
        spec, [2 * each for each in values] if noise > 1 else values, [Fraction(noise)] * len(Layout.of(spec).segments)
    )


def _line(given: Verified, statistic: str, label: str = "") -> list[list[float]]:
    found = next(each for each in lines(given.cells) if (each.statistic, each.label) == (statistic, label))
    return [[one.value for one in numbers] for numbers in found.numbers if numbers is not None]


def test_every_line_has_the_whole_and_then_each_group() -> None:
    given = told()
    assert [group.keys for group in groups(given.cells)] == [{}, {"sex": "F"}, {"sex": "M"}]
    assert _line(given, "n") == [[620], [410], [210]]
    women, men = _line(given, "mean_sd")[1:]
    assert women == pytest.approx([25, 3.125 * math.sqrt(4 - 1 / 12)])
    assert men == pytest.approx([35, 3.125 * math.sqrt(9 - 1 / 12)])
    assert _line(given, "median")[1] == pytest.approx([25, 20, 30])
    assert _line(given, "missing")[1] == pytest.approx([10, 100 * 10 / 410])
    assert _line(given, "n_percent", "AMB")[2] == pytest.approx([100, 100 * 100 / 210])
    assert _line(given, "missing", "missing")[2] == pytest.approx([15, 100 * 15 / 210])


def test_a_mean_of_all_is_that_of_all_patients_and_not_of_the_groups() -> None:
    assert _line(told(), "mean_sd")[0][0] == pytest.approx(50 - 3.125 * 4160 / 600)


@pytest.mark.parametrize(
    ("language", "words"), [("en", ["mean ± SD", "female", "outpatient"]), ("zh", ["均值 ± 标准差", "女", "门诊"])]
)
def test_it_is_printed_as_a_journal_prints_it(language: str, words: list[str]) -> None:
    page = render.as_text(render.answer(told(), Say(Language(language))))
    for word in [*words, "25 ± 6.185", "25 [20 – 30]", "100 (47.62 %)"]:
        assert word in page


def test_machines_get_the_lines_and_the_cells() -> None:
    told_json = json.loads(json.dumps(as_json(told())))
    assert told_json["table_one"]["groups"][1] == {"keys": {"sex": "F"}, "filter": None}
    mean = next(each for each in told_json["table_one"]["lines"] if each["statistic"] == "mean_sd")["numbers"][1][0]
    assert mean["lower"] < 25 < mean["upper"]
    assert {"mean_age_value", "stddev_age_value", "q0.25_age_value", "missing_age_percent_value", "visit_class_AMB_value"} <= set(
        arrow_table(told().cells).column_names
    )


def test_what_is_lost_in_noise_is_said_to_be() -> None:
    given = told(noise=90_000)
    assert "lost in noise" in render.as_text(render.answer(given, Say(Language.EN)))
    assert as_json(given)["table_one"]["lines"][1]["numbers"][2] == [None, None]


def test_filters_are_groups_and_their_words_stand_above_them() -> None:
    measure = "TABLE_ONE(sex) FILTER (WHERE {}age >= 60)"
    text = f"SELECT {measure.format('')}, {measure.format('NOT ')}, COUNT(*) FROM visits WHERE {PERIOD}"
    given = hand_made(parse_sql(text), [30, 20, 10, 0, 0, 0, 70, 30, 40, 0, 0, 0, 500], [Fraction(1)] * 5)
    assert _line(given, "n") == [[30], [70]]
    assert _line(given, "n_percent", "F") == [[20, pytest.approx(100 * 2 / 3)], [30, pytest.approx(100 * 3 / 7)]]
    assert "age 60 to 150" in as_json(given)["table_one"]["groups"][0]["filter"]


def test_a_curve_has_intervals_of_the_noise_and_others_with_sampling_in_them() -> None:
    given = hand_made(parse_sql(CURVE), [100, 90, 20, 30, 160, 40, 30, 25, 25, 280], [Fraction(16)])
    page, read = render.as_text(render.answer(given, Say(Language.EN))), as_json(given)
    first = read["rows"][0]["measures"]["survival_30"]
    with_sampling = read["survival"][0]["curves"][0][0]
    assert first["value"] == pytest.approx(0.75)
    assert with_sampling["value"] == pytest.approx(0.75)
    assert with_sampling["lower"] < first["lower"] < 0.75 < first["upper"] < with_sampling["upper"]
    assert read["survival"][0]["log_rank"]["p"] < 1e-6
    assert "day 60" in page
    assert "log-rank" in page
    assert "0.750" in page


def test_a_group_that_nobody_is_in_has_no_curve_and_no_part_in_the_test() -> None:
    """Its ends are noise: they would make a curve of 1, 1, 0 with intervals of no width."""
    both = parse_sql(CURVE.replace("('F', 'M')", "('F', 'M', 'O')"))
    given = hand_made(both, [100, 90, 20, 30, 160, 40, 30, 25, 25, 280, -3, 5, 4, -2, -6], [Fraction(16)])
    alone = hand_made(parse_sql(CURVE), [100, 90, 20, 30, 160, 40, 30, 25, 25, 280], [Fraction(16)])
    page, read = render.as_text(render.answer(given, Say(Language.EN))), as_json(given)
    assert page.count("lost in noise") >= 2
    assert [each["value"] for each in read["survival"][0]["curves"][2]] == [None, None]
    assert [each["lower"] for each in read["survival"][0]["curves"][2]] == [None, None]
    assert read["survival"][0]["log_rank"] == as_json(alone)["survival"][0]["log_rank"]
    assert [row["measures"]["survival_30"]["value"] is None for row in read["rows"]] == [False, False, True]
    (drawn,) = figure_of_curves(given, Say(Language.EN)).axes
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["female", "male", "other: lost in noise"]
    assert len(drawn.collections) == 2 * 2, "a band and the ends of two groups"


@pytest.mark.statistical
def test_the_lines_cover_what_the_histogram_says() -> None:
    """600 tables of noise sd 12; fewer than 92 % covered of 1,200 numbers has a probability below 1e-6 at a true 95 %."""
    random, spec = np.random.default_rng(20261130), parse_sql(TABLE)
    exact = np.array(told().bundle.values)
    variances = [Fraction(144 * segment.clamp**2) for segment in Layout.of(spec).segments]
    sds = np.concatenate([np.full(s.length, math.sqrt(v)) for s, v in zip(Layout.of(spec).segments, variances, strict=True)])
    truth = {name: column.values for name, column in _columns(told())}
    covered: dict[str, list[bool]] = {
        name: [] for name in ("mean_age", "stddev_age", "missing_age_percent", "visit_class_EMER_percent")
    }
    for _ in range(600):
        noisy = exact + np.rint(random.normal(0, sds)).astype(int)
        for name, column in _columns(hand_made(spec, noisy.tolist(), variances)):
            if name in covered:
                covered[name] += ((column.lower <= truth[name]) & (truth[name] <= column.upper)).tolist()
    shares = {name: np.mean(each) for name, each in covered.items()}
    assert all(share >= 0.92 for share in shares.values()), shares


def _columns(given: Verified) -> list[tuple[str, object]]:
    return [(column.name, column) for column in given.cells.columns]


@pytest.mark.wire
def test_a_table_one_is_previewed_with_its_split_asked_and_told(
    bureau: Bureau, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    question = (
        "SELECT sex, TABLE_ONE(CLAMP(age, 0, 90), visit_class) FROM visits "
        "WHERE date >= DATE '2026-10-01' AND date < DATE '2026-12-01' GROUP BY sex"
    )
    assert bureau("preview", question, "--price", "0.02", "--json") == 0
    split = json.loads(capsys.readouterr().out.splitlines()[-1])["noise"]
    assert [each["part"] for each in split] == ["persons", "deviation", "square", "presence", "bins", "categories"]
    assert sum(each["price_share"] for each in split) == pytest.approx(1)
    assert all(each["price_share"] == pytest.approx(1 / 6, rel=0.02) for each in split)
    assert bureau("preview", question, "--price", "0.02") == 0
    assert "visit class: each category" in capsys.readouterr().out
    bureau.answers_in_life()
    assert bureau("query", question, "--price", "0.02", "--programme", "ILI", "--json", "--out", str(tmp_path / "one.csv")) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [group["keys"].get("sex") for group in told["table_one"]["groups"]] == [None, "F", "M", "O", "U"]
    assert "visit_class_AMB_percent_value" in (tmp_path / "one.csv").read_text("utf-8-sig").splitlines()[0]
