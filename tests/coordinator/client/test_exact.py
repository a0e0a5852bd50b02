"""Exact mode at the bureau: asked only with its flag, told in red and in words, and nowhere called private."""

import csv
import io
import json
from fractions import Fraction

import pytest
from pyarrow import parquet
from rich.console import Console

from coordinator.client import chart, export, render
from coordinator.client.texts import ENGLISH, Say
from protocols import statements as st
from protocols.answer import Spending
from protocols.exact import NO_NOISE, is_exact
from protocols.query import Language
from protocols.query.sql import parse_sql
from tests.coordinator.client.support.answers import WEEKLY, hand_made
from tests.coordinator.client.support.bureau import QUESTION, Bureau
from tests.coordinator.client.test_table import MEAN
from tests.support.exact import permit

CHINESE = Say(Language.ZH)
PERIOD = "date >= DATE '2026-10-01' AND date < DATE '2026-12-01'"
RED, NOT_PRIVATE, NOT_PRIVATE_ZH = "\x1b[1;31m", "NOT PRIVATE", "【不具有】隐私保护"
HALF_YEAR = 26 * 11


def season():
    return hand_made(parse_sql(WEEKLY), range(HALF_YEAR), [Fraction(0)])


def shown(what, say=ENGLISH) -> str:
    out = io.StringIO()
    Console(file=out, width=140, force_terminal=True, color_system="standard").print(render.answer(what, say))
    return out.getvalue()


def answered(bureau: Bureau, *args: str, lang: str = "en") -> int:
    permit(bureau.city)
    bureau.answers_in_life()
    return bureau("query", QUESTION, "--exact", *args, lang=lang)


def last(capsys: pytest.CaptureFixture[str]) -> str:
    """What the program printed last: the parties of the test log to the same place."""
    return capsys.readouterr().out.splitlines()[-1]


def asked(bureau: Bureau) -> st.Query:
    statement = st.parse(bureau.desk.envelopes[-1]).statement
    assert isinstance(statement, st.Query)
    return statement


def test_the_flag_asks_a_research_question_of_at_least_five_without_noise_under_no_programme(bureau: Bureau) -> None:
    assert answered(bureau, "--json") == 0
    query = asked(bureau)
    assert (query.purpose, query.programme, query.floor, set(query.variances)) == ("research", None, 5, {NO_NOISE})
    assert is_exact(query.spec)


def test_without_the_flag_nothing_is_exact(bureau: Bureau) -> None:
    bureau.answers_in_life()
    assert bureau("query", QUESTION, "--programme", "ILI", "--json") == 0
    assert not is_exact(asked(bureau).spec)


def test_the_answer_for_machines_says_that_it_is_not_private_and_states_no_epsilon(
    bureau: Bureau, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answered(bureau, "--json") == 0
    told = json.loads(last(capsys))
    assert (told["mode"], told["private"]) == ("exact", False)
    assert NOT_PRIVATE in told["warning"]["en"]
    assert NOT_PRIVATE_ZH in told["warning"]["zh"]
    assert not {"price", "spending", "level", "noise_variances"} & set(told)
    assert "epsilon" not in json.dumps(told)
    private = export.as_json(hand_made(parse_sql(WEEKLY), range(HALF_YEAR), [Fraction(100)]))
    assert (private["mode"], private["private"]) == ("private", True)
    assert "warning" not in private


@pytest.mark.parametrize(("say", "words"), [(ENGLISH, NOT_PRIVATE), (CHINESE, NOT_PRIVATE_ZH)])
def test_the_answer_for_people_says_so_in_red_above_and_below_and_shows_no_interval(say: Say, words: str) -> None:
    told = shown(season(), say)
    assert told.count(RED) >= 2
    assert told.count(words) == 2
    assert "ε" not in told
    assert "±" not in told
    assert words not in shown(hand_made(parse_sql(WEEKLY), range(HALF_YEAR), [Fraction(100)]), say)


def test_exact_numbers_are_told_whole_at_every_level_and_a_mean_is_the_mean() -> None:
    sql = f"SELECT month, district, COUNT(*) FROM visits WHERE {PERIOD} GROUP BY month, district WITH TOTALS (month)"
    spec = parse_sql(sql.replace(" WITH TOTALS (month)", ""))
    cells = hand_made(spec, range(22), [Fraction(0)]).cells
    assert cells.collapsed(("month",)).columns[0].values.tolist() == [sum(range(11)), sum(range(11, 22))]
    assert cells.columns[0].half_width.tolist() == [0] * 22
    mean = hand_made(parse_sql(MEAN), [90_000, 500, 0, -40, 300, 4, 0, 3], [Fraction(0), Fraction(0)]).cells.columns[0]
    assert (mean.lower[0], mean.upper[0]) == (mean.values[0], mean.values[0])
    assert mean.values[0] == 300.0 / parse_sql(MEAN).measures[0].scale  # type: ignore[union-attr]
    assert mean.values[2] != mean.values[2]  # nobody has a value there


def test_files_say_so_in_every_row(tmp_path) -> None:
    export.write(season(), tmp_path / "a.csv", ENGLISH)
    export.write(season(), tmp_path / "a.parquet", ENGLISH)
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text("utf-8-sig").splitlines()))
    assert [row["mode"] for row in rows] == ["exact"] * HALF_YEAR
    assert parquet.read_table(tmp_path / "a.parquet").column("mode").to_pylist() == ["exact"] * HALF_YEAR
    export.write(season(), tmp_path / "a.json", ENGLISH)
    assert json.loads((tmp_path / "a.json").read_text())["private"] is False


def test_a_chart_says_so_in_red() -> None:
    figure = chart.figure_of(season(), ENGLISH)
    note = figure._supxlabel
    assert (NOT_PRIVATE in note.get_text(), note.get_color()) == (True, "#c00000")


OTHERS = [("--sd", "20"), ("--epsilon", "1"), ("--price", "0.01"), ("--programme", "ILI"), ("--purpose", "surveillance")]


@pytest.mark.parametrize("more", [*OTHERS, ("--floor", "4")])
def test_noise_a_programme_another_purpose_and_a_low_floor_are_no_exact_mode(bureau: Bureau, more: tuple[str, str]) -> None:
    assert bureau("query", QUESTION, "--exact", *more) == 2
    assert bureau.desk.envelopes == []


def test_a_measure_that_cuts_values_is_refused_before_it_is_asked(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    sql = f"SELECT STDDEV(CLAMP(age, 0, 100)) FROM visits WHERE {PERIOD}"
    assert bureau("query", sql, "--exact") == 2
    assert "which cut values" in capsys.readouterr().err


def test_a_preview_names_who_would_not_agree_and_no_price(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    assert bureau("preview", QUESTION, "--exact") == 0
    told = capsys.readouterr().out
    assert NOT_PRIVATE in told
    assert "no exact mode in the policy of: h01, h02, h03, h04, h05" in told
    assert "ε" not in told
    assert bureau("preview", QUESTION, "--exact", "--json") == 0
    assert (plan := json.loads(last(capsys)))["private"] is False
    assert len(plan["unwilling"]) == 5
    assert "price" not in plan


CLAIMS: dict[str, dict[str, object]] = {
    "a price": {"price": "0.010000000"},
    "an interval": {"half_widths": (1,)},
    "noise": {"total_variances": ("16.0000",)},
    "an epsilon": {"spending": (Spending(who="one_hospital", epsilon="0.1", delta="1e-06"),)},
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_an_exact_answer_that_claims_a_privacy_is_evidence(bureau: Bureau, claim: str) -> None:
    permit(bureau.city)
    bureau.answers_in_life(lambda answer: answer.model_copy(update=CLAIMS[claim]))
    assert bureau("query", QUESTION, "--exact", "--json") == 1
