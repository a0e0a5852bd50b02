"""A standing series through the program: asked once what is due, one table of all answers, and what a preview says of it."""

import json
from typing import Any

import pytest

from coordinator.client.forecast import ByPrice, forecast
from coordinator.client.series import promise, schedule
from protocols import statements as st
from protocols.query import QuerySpec
from protocols.query.sql import parse_sql
from tests.coordinator.client.support.bureau import Bureau

JUNE = "SELECT district, COUNT(*) FROM visits WHERE date >= DATE '2026-06-01' AND date < DATE '2026-07-01' GROUP BY district"
ASK = ("series", JUNE, "--sd", "60", "--programme", "ILI")


def _told(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_promise_is_of_the_same_price_to_every_month() -> None:
    spec = parse_sql(JUNE)
    cast = forecast(spec, ByPrice(forecast(spec, ByPrice(schedule(spec)[0].share / 100), 6).price.one), 6)
    found = promise(spec, cast)
    assert found is not None
    assert found.series.whole < 0.6 * found.alone.whole
    assert found.alone.whole == pytest.approx(12 * float(cast.total_variances[0]))
    paid = [forecast(each.spec, ByPrice(cast.price.one * each.share), 6).price.one for each in schedule(spec)]
    for month in range(12):
        assert (
            sum(price for price, each in zip(paid, schedule(spec), strict=True) if each.start <= month < each.stop)
            <= cast.price.one
        )


@pytest.mark.wire
def test_what_is_due_is_asked_once_and_told_as_one_table(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.answers_in_life()
    assert bureau(*ASK, "--ask", "--json") == 0
    told = _told(capsys)
    # On 23 November: five months have ended, and one quarter.
    states = {each["period"]["from"] + each["period"]["to"]: each["state"] for each in told["questions"]}
    assert list(states.values()).count("answered") == 6
    assert states["2026-06-012026-09-01"] == "answered"
    assert states["2026-11-012026-12-01"] == "later"
    asked = [st.parse(each).statement for each in bureau.desk.envelopes]
    periods = [QuerySpec.from_json(each.spec).period for each in asked if isinstance(each, st.Query)]
    assert [(str(each.start)[:7], str(each.end)[:7]) for each in periods if each] == [
        ("2026-06", "2026-07"),
        ("2026-07", "2026-08"),
        ("2026-08", "2026-09"),
        ("2026-06", "2026-09"),
        ("2026-09", "2026-10"),
        ("2026-10", "2026-11"),
    ]
    measure = told["measures"][0]
    assert [each["month"] for each in measure["months"]] == ["2026-06", "2026-07", "2026-08", "2026-09", "2026-10"]
    assert len(measure["to_date"]) == 11
    assert measure["to_date"][0]["noise_sd"] < 5**0.5 * measure["months"][4]["cells"][0]["noise_sd"], "the quarter helps"
    assert bureau(*ASK, "--ask") == 0
    assert len(bureau.desk.envelopes) == 6, "nothing is asked or paid twice"
    page = capsys.readouterr().out
    assert "2026-06 – 2026-08" in page
    assert "to date" in page
    assert bureau(*ASK, lang="zh") == 0
    assert "截至目前" in capsys.readouterr().out


@pytest.mark.wire
def test_a_preview_says_what_a_series_would_have(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    assert bureau("preview", JUNE, "--sd", "60") == 0
    assert "the year ±" in capsys.readouterr().out
    assert bureau("preview", JUNE, "--sd", "60", "--json") == 0
    told = _told(capsys)["as_series"]
    assert told["series"]["whole"] < 0.8 * told["alone"]["whole"]
    assert bureau.desk.envelopes == []


@pytest.mark.wire
def test_a_question_that_has_no_series_is_refused_with_what_one_is(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    assert bureau("series", JUNE.replace("COUNT(*)", "COUNT(DISTINCT person_id)"), "--ask") == 2
    assert "one calendar month" in capsys.readouterr().err
    assert bureau.desk.envelopes == []
