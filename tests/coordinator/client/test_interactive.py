"""`import kapok` at a prompt: questions, models and what was asked before, through a real desk and verified bundles."""

import io
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

import kapok
from coordinator.client.fits import Estimate
from coordinator.client.summary import table_text
from protocols import statements as st
from protocols.fits import of_fields
from tests.coordinator.client.support.bureau import QUESTION, Bureau
from tests.support.city import BUREAU, COORDINATOR, ORIGIN
from tests.support.exact import permit

NOTEBOOK = Path(__file__).parents[3] / "simulations" / "notebooks" / "first_questions.ipynb"
AGE, MALE = kapok.number("age", 20, 80, unit="years"), kapok.category("sex", "male")
PULSE = kapok.number("thalach", 60, 210, unit="bpm")
FIT: dict[str, Any] = {"table": "heart", "catalogue": "heart-2026", "y": PULSE, "x": [AGE, MALE]}


def register_heart(bureau: Bureau) -> None:
    """Every hospital's table, approved: its block may be charged."""
    declared = {"type": "number", "categories": ()}
    age = st.DeclaredColumn(name="age", low="20", high="80", unit="years", **declared)
    pulse = st.DeclaredColumn(name="thalach", low="60", high="210", unit="bpm", **declared)
    sex = st.DeclaredColumn(name="sex", type="category", low="", high="", unit="", categories=("female", "male"))
    fields = {"table": "heart", "catalogue": "heart-2026", "title": "heart disease", "is_dated": False, "size_class": 10}
    days = {"first_day": "-", "last_day": "-", "columns": (age, pulse, sex)}
    for hospital in bureau.city.hospitals.values():
        stated = st.Registration(**bureau.city.head(hospital.uri), **fields, **days)
        entry = bureau.city.sign(stated, hospital.identity)
        bureau.city.log_entry(entry)
        bureau.city.approve(st.parse(entry).hex_id)
    told = json.loads(bureau.desk.catalog)
    for each in told["hospitals"]:
        each["registered"] = [{**stated.model_dump(mode="json"), "approved": True}]
    bureau.desk.catalog = json.dumps(told).encode()


@pytest.fixture
def city(bureau: Bureau, monkeypatch: pytest.MonkeyPatch) -> kapok.InteractiveCity:
    """As `kapok.connect` opens the bureau's folder; the clock is the played city's."""
    settings = {"uri": BUREAU, "origin": ORIGIN, "coordinator_uri": COORDINATOR, "coordinator_address": bureau.served.address}
    bureau.home.write("config.toml", "".join(f'{name} = "{value}"\n' for name, value in settings.items()).encode())
    register_heart(bureau)
    bureau.answers_in_life()
    monkeypatch.setattr(kapok, "connect", partial(kapok.connect, clock=lambda: bureau.city.now))
    return kapok.connect(bureau.home.path)


@pytest.mark.wire
def test_an_answer_is_a_table_a_frame_and_a_text(city: kapok.InteractiveCity) -> None:
    answer = city.query(QUESTION, sd=20, programme="ILI")
    frame = answer.to_pandas()
    assert frame["count_value"].tolist() == answer.values["count"]
    assert answer.id in repr(answer)
    stored = city.fetch(answer.id[:10])
    assert isinstance(stored, kapok.Answer)
    assert stored.values == answer.values


@pytest.mark.wire
def test_a_model_has_its_numbers_by_name_and_is_fetched_again(city: kapok.InteractiveCity, bureau: Bureau) -> None:
    model = city.fit("linear", **FIT, price=0.2)
    assert not model.is_exact
    assert list(model.params) == ["intercept", "age", "sex=male"] == list(model.to_pandas().index)
    asked, answered = len(bureau.desk.envelopes), city.fetch(model.id)
    assert isinstance(answered, kapok.Model)
    assert (answered.params, len(bureau.desk.envelopes)) == (model.params, asked), "read again, not asked again"
    wide, narrow = model.conf_int(0.01)["age"], model.conf_int()["age"]
    assert wide[0] < narrow[0] < model.params["age"] < narrow[1] < wide[1]
    reach = stats.norm.ppf(0.995) * model.bse["age"]
    assert wide == pytest.approx((model.params["age"] - reach, model.params["age"] + reach))


@pytest.mark.wire
def test_columns_by_their_names_have_the_declared_bounds(city: kapok.InteractiveCity) -> None:
    by_name = city.fit("linear", table="heart", y="thalach", x=["age", "sex=male"], price=0.2)
    assert by_name.fitted.spec.to_json() == city_spec()
    wrong = {
        "sex is category; write sex=female or sex=male": ["sex"],
        "'height' is no column of heart; it has age, thalach, sex": ["height"],
        "age is number; write age": ["age=50"],
    }
    for said, columns in wrong.items():
        with pytest.raises(kapok.BadUsage, match=said):
            city.fit("linear", table="heart", y="thalach", x=columns)
    with pytest.raises(kapok.BadUsage, match="no hospital has registered 'lung'; there are heart"):
        city.fit("linear", table="lung", y="thalach", x=["age"])


def city_spec() -> dict[str, Any]:
    return of_fields(
        {
            "fit": "linear",
            "table": "heart",
            "catalogue": "heart-2026",
            "outcome": _json(PULSE),
            "features": [_json(AGE), _json(MALE)],
        }
    ).to_json()


def _json(term: Any) -> dict[str, Any]:
    found: dict[str, Any] = term.model_dump(mode="json")
    return found


@pytest.mark.wire
def test_a_summary_speaks_both_languages(city: kapok.InteractiveCity) -> None:
    model = city.fit("linear", **FIT, price=0.2)
    assert "linear regression over heart, 1 round(s)" in model.summary("en")
    assert "线性回归（heart），1 轮" in model.summary("zh")
    for lang in ("en", "zh"):
        assert model.fitted.bundle.price in model.summary(lang)
        assert "static:heart-2026" in model.summary(lang)


@pytest.mark.wire
def test_an_exact_model_is_called_not_private_and_states_no_epsilon(city: kapok.InteractiveCity, bureau: Bureau) -> None:
    permit(bureau.city, tables=("heart",))
    model = city.fit("linear", table="heart", y="thalach", x=["age"], exact=True)
    assert model.is_exact
    for lang, words in (("en", "NOT PRIVATE"), ("zh", "【不具有】隐私保护")):
        assert words in model.summary(lang)
        assert "ε" not in model.summary(lang)


@pytest.mark.wire
def test_a_model_that_cannot_be_asked_says_why_before_anything_is_signed(city: kapok.InteractiveCity, bureau: Bureau) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "3: a column": {**FIT, "x": [3]},
        "features": {**FIT, "x": []},
        "the outcome is no feature": {**FIT, "x": [PULSE]},
        "edges": {**FIT, "edges": [1]},
    }
    for said, fields in wrong.items():
        with pytest.raises(kapok.BadUsage, match=said):
            city.fit("linear", **fields)
    with pytest.raises(kapok.BadUsage, match="expected one of linear, logistic"):
        city.fit("forest", **FIT)
    assert bureau.desk.envelopes == []


@pytest.mark.wire
@pytest.mark.parametrize("progress", [None, True])
def test_progress_is_told_where_it_is_asked_for(
    city: kapok.InteractiveCity, monkeypatch: pytest.MonkeyPatch, progress: bool | None
) -> None:
    told = io.StringIO()  # no terminal: nobody reads it unless they say so
    monkeypatch.setattr("sys.stderr", told)
    answer = city.query(QUESTION, sd=20, programme="ILI", progress=progress)
    assert (answer.id in told.getvalue()) == bool(progress)
    assert ("running" in told.getvalue()) == bool(progress)


@pytest.mark.wire
def test_the_notebook_runs(city: kapok.InteractiveCity, bureau: Bureau, monkeypatch: pytest.MonkeyPatch) -> None:
    city.__exit__()
    monkeypatch.setitem(os.environ, "KAPOK_HOME", str(bureau.home.path))
    names: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert len(names["frame"]) == len(names["answer"].values["count"])


# -- the table


def test_the_table_reads_as_statisticians_are_used_to() -> None:
    facts = [("Hospitals", "4"), ("Rounds", "6"), ("Mode", "private")]
    text = table_text("Logistic regression", facts, [Estimate("age", 0.02133, 0.01262, 0.091)], ["a note"])
    assert text.splitlines() == [
        " " * 29 + "Logistic regression",
        "=" * 78,
        "Hospitals:                          4   Rounds:                             6",
        "Mode:                         private",
        "=" * 78,
        " " * 21 + "coef    std err         z     P>|z|     [0.025     0.975]",
        "-" * 78,
        "age                0.0213     0.0126     1.690     0.091    -0.0034     0.0461",
        "=" * 78,
        "[1] a note",
    ]


def test_an_estimate_that_is_not_tested_has_no_p() -> None:
    row = table_text("t", [], [Estimate("mean a", 1.0, 0.5), Estimate("none", 1.0, 0.0, 0.5)]).splitlines()[5]
    assert row.split() == ["mean", "a", "1.0000", "0.5000", "0.0200", "1.9800"]


def test_a_chinese_name_takes_two_columns_a_character() -> None:
    names = ("年龄", "血压很高的患者的年龄", "age")
    rows = [each for each in table_text("t", [], [Estimate(name, 1.0, 0.5) for name in names]).splitlines() if "0.5000" in each]
    assert len({len(row.encode("gbk")) for row in rows}) == 1
