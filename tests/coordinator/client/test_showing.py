"""Answers on a terminal, in files and as charts, in both languages."""

import csv
import io
import json
import xml.etree.ElementTree as ET
from fractions import Fraction

import pytest
from pyarrow import parquet
from rich.console import Console

from audit_ledger.party import drawing
from coordinator.client import chart, export, render
from coordinator.client.errors import BadUsage
from coordinator.client.texts import ENGLISH, Say
from coordinator.client.wording import number
from protocols.query import Language
from protocols.query.sql import parse_sql
from tests.coordinator.client.support.answers import hand_made, one_number, season
from tests.coordinator.client.test_table import MEAN

CHINESE = Say(Language.ZH)


def _shown(what, say, **options) -> str:
    out = io.StringIO()
    Console(file=out, width=140, color_system=None).print(render.answer(what, say, **options))
    return out.getvalue()


def test_every_number_stands_with_its_interval_and_a_word():
    told = _shown(one_number(1234), ENGLISH)
    assert "1,234 ± 8" in told
    assert "[1,226, 1,242]" in told
    assert "reliable" in told
    assert "噪声" in _shown(one_number(3), CHINESE)
    assert "-12 ± 8" in _shown(one_number(-12), ENGLISH), "a negative count is shown as it was released"


def test_who_answered_who_refused_and_who_was_away_are_named():
    told = _shown(season(), ENGLISH)
    assert "answered (4): h01, h02, h03, h04" in told
    assert "refused (1): h05" in told
    assert "away (1): h06" in told
    assert "price: 0.018212500 on each block" in told
    assert "a patient of two hospitals: ε = 0.62, δ = 1e-06" in told


def test_a_wide_answer_is_cut_to_the_largest_cells_and_its_total():
    cells = season().cells.columns[0].values
    told, whole = _shown(season(), CHINESE), _shown(season(), CHINESE, is_whole=True)
    assert told.count("区 ") == 30 + told.count("地区 ")
    assert "共 286 个" in told
    assert f"{cells.max():,} ±" in told
    assert f"{cells.sum():,} ±" in told
    assert whole.count("区 ") == 286 + whole.count("地区 ")
    assert "--all" not in whole


def test_a_mean_lost_in_noise_shows_no_number():
    answer = hand_made(parse_sql(MEAN), [90_000, 500, 0, -40, 300, 4, 0, 3], [Fraction(10_000), Fraction(25)])
    told = _shown(answer, ENGLISH)
    assert "30 ± " in told
    assert told.count("lost in noise") == 3
    assert "nan" not in told


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1234567, "1,234,567"), (30.25, "30.25"), (0.012345, "0.01235"), (-2.5, "-2.500")]
)
def test_numbers_keep_four_digits(value, text):
    assert number(value) == text


def test_csv_opens_in_excel_and_says_what_was_released(tmp_path):
    answer = season()
    export.write(answer, tmp_path / "a.csv", CHINESE)
    raw = (tmp_path / "a.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))
    assert [int(row["count_value"]) for row in rows] == list(answer.bundle.values)
    assert (rows[0]["iso_week"], rows[0]["district"], rows[0]["district_name"]) == ("2026-W02", "440103", "荔湾区")
    half = answer.bundle.half_widths[0]
    assert all(int(row["count_upper"]) - int(row["count_lower"]) == 2 * half == 2 * int(row["count_half_width"]) for row in rows)


def test_parquet_gives_back_the_same_columns(tmp_path):
    answer = hand_made(parse_sql(MEAN), [90_000, 500, 0, -40, 300, 4, 0, 3], [Fraction(10_000), Fraction(25)])
    export.write(answer, tmp_path / "a.parquet", ENGLISH)
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.equals(export.arrow_table(answer.cells))
    assert table["avg_value_value"].to_pylist() == [30.0, None, None, None]
    assert table["sex_name"].to_pylist() == ["female", "male", "other", "unknown"]


def test_json_is_plain_json_with_every_cell(tmp_path):
    answer = hand_made(parse_sql(MEAN), [90_000, 500, 0, -40, 300, 4, 0, 3], [Fraction(10_000), Fraction(25)])
    export.write(answer, tmp_path / "a.json", ENGLISH)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    told = json.loads((tmp_path / "a.json").read_text("utf-8"), parse_constant=refuse)
    assert [row["measures"]["avg_value"]["value"] for row in told["rows"]] == [30.0, None, None, None]
    assert told["rows"][0]["keys"] == {"sex": "F"}
    assert told["coverage"]["away"] == ["kapok://hospital/h06"]


@pytest.mark.parametrize("name", ["a.xlsx", "a", "nowhere/a.csv"])
def test_a_file_that_cannot_be_written_is_a_usage_error(tmp_path, name):
    with pytest.raises(BadUsage):
        export.write(season(), tmp_path / name, ENGLISH)


@pytest.mark.parametrize("say", [ENGLISH, CHINESE])
def test_a_chart_is_drawn_in_either_language(tmp_path, say):
    is_in_language = chart.draw(season(), tmp_path / "a.png", say)
    assert (tmp_path / "a.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "a.png").stat().st_size > 40_000
    assert is_in_language == (say is ENGLISH or drawing.chinese_font() is not None)
    chart.draw(season(), tmp_path / "a.svg", say)
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


def test_the_chart_has_the_city_and_one_panel_a_district_each_with_its_own_band():
    figure = chart.figure_of(season(), ENGLISH)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["city (sum of cells)", *(ENGLISH.label("district", each) for each in season().cells.axes[1].labels)]
    city, first = season().cells.collapsed(("iso_week",)).columns[0], figure.axes[0]
    assert first.lines[0].get_ydata().tolist() == city.values.tolist()
    band = first.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (city.lower.min(), city.upper.max())
    panel = figure.axes[3].lines[0].get_ydata().tolist()
    assert panel == season().cells.columns[0].values.reshape(26, 11)[:, 2].tolist()


def test_a_chart_without_an_axis_of_time_is_refused(tmp_path):
    with pytest.raises(BadUsage, match="series"):
        chart.draw(one_number(5), tmp_path / "a.png", ENGLISH)


SHARES = (
    "SELECT month, district, COUNT(*), COUNT(*) FILTER (WHERE age < 15) FROM visits "
    "WHERE date >= DATE '2026-01-01' AND date < DATE '2026-04-01' GROUP BY month, district"
)


@pytest.mark.parametrize("say", [CHINESE, ENGLISH], ids=["zh", "en"])
def test_a_question_with_a_percentage_is_drawn_as_that(tmp_path, say):
    given = hand_made(parse_sql(SHARES), [1000] * 33 + [50] * 11 + [100] * 11 + [200] * 11, [Fraction(144)] * 2)
    figure = chart.figure_of(given, say)
    city = figure.axes[0]
    assert city.lines[0].get_ydata().tolist() == pytest.approx([5, 10, 20])
    assert len(figure.axes) == 12
    band = city.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() < 5 < 20 < band.max(), "the band is Fieller's interval of the percentage"
    assert "%" in figure.get_suptitle()
    chart.draw(given, tmp_path / "share.png", say)
    assert (tmp_path / "share.png").stat().st_size > 10_000


@pytest.mark.parametrize("say", [CHINESE, ENGLISH], ids=["zh", "en"])
def test_a_survival_curve_is_drawn_over_its_days(tmp_path, say):
    spec = parse_sql(
        "SELECT sex, KAPLAN_MEIER(HAS(visits, 1, 60), [30, 60], DATE '2026-06-01') FROM visits WHERE sex IN ('F', 'M') "
        "AND date >= DATE '2026-01-01' AND date < DATE '2026-04-01' GROUP BY sex"
    )
    chart.require_drawable(spec)
    given = hand_made(spec, [100, 90, 20, 30, 160, 40, 30, 25, 25, 280], [Fraction(16)])
    (axes,) = chart.figure_of(given, say).axes
    assert axes.lines[0].get_xdata().tolist() == [0, 30, 60]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([1, 0.75, 0.75 * (1 - 90 / 280)])
    assert [each.get_text() for each in axes.get_legend().get_texts()] == [say.label("sex", "F"), say.label("sex", "M")]
    chart.draw(given, tmp_path / "curve.svg", say)
    assert (tmp_path / "curve.svg").read_text().startswith("<?xml")
