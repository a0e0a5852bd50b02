"""A standing series through the program: asked once what is due, one table of all answers, and what a preview says of it."""

import json
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import csv, parquet

from coordinator.client.chart_series import figure_of_series
from coordinator.client.forecast import ByPrice, _piece, forecast
from coordinator.client.series import promise, scale_for, schedule, too_wide
from coordinator.client.series_lines import spans
from coordinator.client.texts import ENGLISH
from privacy.pricing import prices
from privacy.series import SCALES, Released, combined
from protocols import statements as st
from protocols.query import QuerySpec
from protocols.query.sql import parse_sql
from protocols.v1 import link_pb2
from tests.coordinator.client.support.bureau import Bureau, catalog_of
from tests.coordinator.client.support.played import Played

JUNE = "SELECT district, COUNT(*) FROM visits WHERE date >= DATE '2026-06-01' AND date < DATE '2026-07-01' GROUP BY district"
WIDE = "SELECT SUM(CLAMP(value, 0, {})) FROM measurements WHERE date >= DATE '2026-06-01' AND date < DATE '2026-07-01'"
ASK = ("series", JUNE, "--sd", "60", "--programme", "ILI")


def _told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_promise_is_of_the_same_price_to_every_month() -> None:
    spec = parse_sql(JUNE)
    cast = forecast(spec, ByPrice(forecast(spec, ByPrice(schedule(spec)[0].share / 100), 6).price.one), 6)
    found = promise(spec, cast)
    assert found is not None
    assert found.series.whole < 0.4 * found.alone.whole
    assert found.series.window < 0.9 * found.alone.window
    assert found.questions == len(schedule(spec)) == 23
    assert found.alone.whole == pytest.approx(12 * float(cast.total_variances[0]))
    paid = [Fraction(0)] * 12
    for each in schedule(spec):
        asked = forecast(each.spec, ByPrice(cast.price.one * each.share), 6)
        pieces = [_piece(*one, len(asked.blocks)) for one in zip(asked.layout.segments, asked.variances, strict=True)]
        for month, price in enumerate(prices(8, pieces, each.part.weights or (1,)), each.start):
            paid[month] += price.one
    assert 0.97 * cast.price.one < min(paid) <= max(paid) <= cast.price.one


@pytest.mark.wire
def test_what_is_due_is_asked_once_and_told_as_one_table(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.answers_in_life()
    assert bureau(*ASK, "--ask", "--json") == 0
    told = _told(capsys)
    # On 23 November five months have ended, and four sums of them.
    states = {each["period"]["from"] + each["period"]["to"]: each["state"] for each in told["questions"]}
    assert list(states.values()).count("answered") == 9
    assert states["2026-06-012026-11-01"] == "answered"
    assert states["2026-11-012026-12-01"] == "later"
    assert told["promise"]["series"]["whole"] < 0.65 * told["promise"]["alone"]["whole"]
    asked = [st.parse(each).statement for each in bureau.desk.envelopes]
    periods = [QuerySpec.from_json(each.spec).period for each in asked if isinstance(each, st.Query)]
    assert [(str(each.start)[:7], str(each.end)[:7]) for each in periods if each] == [
        ("2026-06", "2026-07"),
        ("2026-07", "2026-08"),
        ("2026-06", "2026-08"),
        ("2026-08", "2026-09"),
        ("2026-06", "2026-09"),
        ("2026-09", "2026-10"),
        ("2026-06", "2026-10"),
        ("2026-10", "2026-11"),
        ("2026-06", "2026-11"),
    ]
    weights = [QuerySpec.from_json(each.spec).weights for each in asked if isinstance(each, st.Query)]
    assert weights[:3] == [None, None, (13, 32)]
    measure = told["measures"][0]
    assert [each["month"] for each in measure["months"]] == ["2026-06", "2026-07", "2026-08", "2026-09", "2026-10"]
    assert len(measure["to_date"]) == 11
    assert measure["to_date"][0]["noise_sd"] < 0.8 * 5**0.5 * measure["months"][4]["cells"][0]["noise_sd"], "the sums help"
    assert bureau(*ASK, "--ask") == 0
    assert len(bureau.desk.envelopes) == 9, "nothing is asked or paid twice"
    page = capsys.readouterr().out
    assert "2026-06 – 2026-08, weighted sum" in page
    assert "to date" in page
    assert "each month pays at most" in page
    assert "three months ±" in page
    assert bureau(*ASK, lang="zh") == 0
    assert "截至目前" in capsys.readouterr().out


@pytest.mark.wire
def test_single_months_alone_are_asked_once_each_at_the_whole_price(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.answers_in_life()
    assert bureau(*ASK, "--ask", "--months-alone", "--json") == 0
    told = _told(capsys)
    assert [each["share"] for each in told["questions"]] == [1.0] * 12
    assert len(bureau.desk.envelopes) == 5
    assert told["promise"] is None


@pytest.mark.wire
def test_after_others_have_answered_weighted_sums_begin_anew_and_what_was_answered_stands(
    bureau: Bureau, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four of five hospitals are asked for the sum to August: with it the old sums end, and with September new ones begin."""
    fewer = sorted(bureau.city.hospitals)[:4]

    def life(envelope: bytes) -> Any:
        made = Played(bureau.city, bureau.opener, entry=envelope)
        spec = QuerySpec.from_json(made.query.spec)
        if spec.weights is not None and str(spec.period.end) == "2026-09-01":  # type: ignore[union-attr]
            made.asked = replace(made.asked, query=made.asked.query.model_copy(update={"audience": tuple(fewer)}))
        raw = made.bundle().model_dump_json().encode()
        return [link_pb2.Progress(query=st.parse(envelope).id, state="released", answer=raw, is_last=True)]

    bureau.desk.asked = life
    assert bureau(*ASK, "--ask", "--json") == 0
    asked = [QuerySpec.from_json(each["spec"] | {"period": each["period"]}) for each in _asked_for(_told(capsys))]
    sums = [(str(each.period.start)[:7], str(each.period.end)[:7]) for each in asked if each.weights and each.period]
    assert sums[:3] == [("2026-06", "2026-08"), ("2026-06", "2026-09"), ("2026-09", "2026-11")]
    sent = len(bureau.desk.envelopes)
    assert bureau(*ASK, "--ask") == 0
    assert len(bureau.desk.envelopes) == sent, "the new plan is found again"
    assert "begin anew with 2026-09" in capsys.readouterr().out
    assert bureau(*ASK, lang="zh") == 0
    assert "自 2026-09 起重新开始" in capsys.readouterr().out


def _asked_for(told: Any) -> list[dict[str, Any]]:
    questions = [each for each in told["questions"] if each["state"] == "answered"]
    plain = {name: value for name, value in told["spec"].items() if name != "period"}
    return [
        {"spec": plain | ({"weights": each["weights"]} if each["weights"] else {}), "period": each["period"]} for each in questions
    ]


@pytest.mark.wire
def test_a_series_is_written_and_drawn_with_its_totals(bureau: Bureau, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bureau.answers_in_life()
    assert bureau("series", JUNE, "--chart", str(tmp_path / "none.png")) == 2
    assert "no month has been answered yet" in capsys.readouterr().err
    assert bureau("series", JUNE, "--out", str(tmp_path / "none.xls")) == 2
    capsys.readouterr()
    assert bureau(*ASK, "--ask", "--json", "--out", str(tmp_path / "x.csv"), "--chart", str(tmp_path / "x.svg")) == 0
    told = _told(capsys)["measures"][0]
    assert bureau(*ASK, "--out", str(tmp_path / "x.parquet"), lang="zh") == 0
    assert bureau(*ASK, "--out", str(tmp_path / "x.json")) == 0
    table = parquet.read_table(tmp_path / "x.parquet")
    rows = table.to_pylist()
    spans = Counter(row["span"] for row in rows)
    assert spans == {"month": 5 * 12, "three_months": 3 * 12, "to_date": 5 * 12}, "eleven districts and their sum"
    months = [row for row in rows if row["span"] == "month"]
    assert [row["count_value"] for row in months[:11]] == [cell["value"] for cell in told["months"][0]["cells"]]
    assert [row["count_upper"] for row in months[:11]] == [cell["upper"] for cell in told["months"][0]["cells"]]
    assert {row["district_name"] for row in months[:11]} >= {"天河区"}
    last = [row for row in rows if row["span"] == "to_date"][-12:]
    assert (str(last[0]["from"]), str(last[0]["to"]), last[-1]["district"]) == ("2026-06-01", "2026-11-01", None)
    assert [row["count_value"] for row in last[:11]] == [cell["value"] for cell in told["to_date"]]
    assert last[-1]["count_value"] == pytest.approx(sum(row["count_value"] for row in last[:11]))
    assert last[-1]["count_half_width"] == pytest.approx(11**0.5 * last[0]["count_half_width"], rel=0.01)
    assert csv.read_csv(tmp_path / "x.csv").num_rows == table.num_rows
    assert json.loads((tmp_path / "x.json").read_text())["measures"][0] == told
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")


def test_a_span_with_a_month_that_was_not_asked_is_left_out() -> None:
    released = [Released(start, start + 1, frozenset({"h"}), 4.0, np.array([10.0, 20.0])) for start in (0, 2, 3, 4)]
    found = spans(combined(released))
    assert [(each.name, each.start, each.stop) for each in found] == [
        ("month", 0, 1),
        ("to_date", 0, 1),
        ("month", 2, 3),
        ("month", 3, 4),
        ("month", 4, 5),
        ("three_months", 2, 5),
    ]


def test_a_chart_holds_the_city_by_month_and_to_date_and_a_panel_a_label() -> None:
    released = [Released(start, start + 1, frozenset({"h"}), 4.0, np.arange(11.0)) for start in range(3)]
    figure = figure_of_series(parse_sql(JUNE), combined(released), ENGLISH)
    assert len(figure.axes) == 2 + 11
    month, to_date = (axes.lines[0].get_ydata() for axes in figure.axes[:2])
    assert [*month] == pytest.approx([55, 55, 55])
    assert [*to_date] == pytest.approx([55, 110, 165])
    (band,) = figure.axes[1].collections
    low, high = band.get_paths()[0].vertices[:, 1].min(), band.get_paths()[0].vertices[:, 1].max()
    assert (low, high) == pytest.approx((55 - 1.96 * 44**0.5 - 0.5, 165 + 1.96 * 132**0.5 + 0.5), abs=0.01)


@pytest.mark.wire
def test_a_preview_says_what_a_series_would_have(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    assert bureau("preview", JUNE, "--sd", "60") == 0
    told = capsys.readouterr().out
    assert "23 questions" in told
    assert "the year ±" in told
    assert bureau("preview", JUNE, "--sd", "60", "--json") == 0
    told = _told(capsys)["as_series"]
    assert told["series"]["whole"] < 0.65 * told["alone"]["whole"]
    assert bureau.desk.envelopes == []


def test_the_bound_that_is_named_is_the_largest_that_has_weighted_sums() -> None:
    (found,) = too_wide(parse_sql(WIDE.format("45, 1")))
    assert (found.measure, found.steps) == (0, 45)
    assert 0 < found.most < 45
    fits, one_more = (parse_sql(WIDE.format(f"{most}, 1")) for most in (found.most, found.most + 1))
    assert (too_wide(fits), scale_for(fits)) == ((), SCALES[-1])
    assert (too_wide(one_more)[0].most, scale_for(one_more)) == (found.most, None)
    (scaled,) = too_wide(parse_sql(WIDE.format("45, 10")))
    assert (scaled.steps, scaled.most) == (450, found.most)


@pytest.mark.wire
def test_a_sum_too_wide_for_weights_is_told_with_what_would_do_by_preview_and_series(
    bureau: Bureau, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = catalog_of(bureau.city)
    table = {**catalog["hospitals"][0]["tables"][0], "name": "measurements"}
    for each in catalog["hospitals"]:
        each["tables"], each["policy"]["tables"] = [table], ["measurements"]
    bureau.desk.catalog = json.dumps(catalog).encode()
    for lang, words in (("en", ("no weighted sums", "450 steps")), ("zh", ("没有加权和", "450 个单位"))):
        for command in ("preview", "series"):
            assert bureau(command, WIDE.format("45, 10"), "--price", "0.1", lang=lang) == 0
            told = "".join(capsys.readouterr().out.split("\n"))
            assert all(each in told for each in words), command
        assert bureau("series", WIDE.format("30, 1"), "--price", "0.1", lang=lang) == 0
        assert words[0] not in capsys.readouterr().out
    assert bureau("series", WIDE.format("45, 10"), "--json") == 0
    (wide,) = _told(capsys)["too_wide_for_weights"]
    assert (wide["measure"], wide["steps"]) == ("sum_value", 450)


@pytest.mark.wire
def test_a_question_that_has_no_series_is_refused_with_what_one_is(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    assert bureau("series", JUNE.replace("COUNT(*)", "COUNT(DISTINCT person_id)"), "--ask") == 2
    assert "one calendar month" in capsys.readouterr().err
    assert bureau.desk.envelopes == []


@pytest.mark.wire
def test_a_weighted_question_in_a_file_is_previewed_and_answered_with_what_its_months_pay(
    bureau: Bureau, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "weighted.toml"
    file.write_text(
        'table = "visits"\nmeasures = ["count"]\ncells_per_patient = 1\n'
        "period = { from = 2026-08-01, to = 2026-10-01 }\nweights = [9, 32]\n"
    )
    assert bureau("preview", str(file), "--sd", "900") == 0
    assert "on the month of the largest weight" in " ".join(capsys.readouterr().out.split())
    spent = {uri: {"surveillance": {"2026-08": "0.870000000"}} for uri in bureau.city.hospitals}
    bureau.desk.catalog = json.dumps(catalog_of(bureau.city, spent)).encode()
    assert bureau("preview", str(file), "--sd", "900", "--programme", "ILI", "--json") == 0
    told = _told(capsys)
    assert {(each["block"], each["fits"]) for each in told["budgets"]} == {("2026-08", True)}, (
        "August pays a twelfth of what September does"
    )
    assert told["budgets"][0]["price"] == pytest.approx((9 / 32) ** 2 * float(told["price"]), rel=0.01)
    bureau.answers_in_life()
    assert bureau("query", str(file), "--sd", "900", "--programme", "ILI") == 0
    assert "on others by theirs squared" in " ".join(capsys.readouterr().out.split())
    assert bureau("query", str(file), "--sd", "900", "--programme", "ILI", lang="zh") == 0
    assert "权重最大的月份" in "".join(capsys.readouterr().out.split())
