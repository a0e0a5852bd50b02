"""A fit in exact mode at the bureau: by its flag or its file and by both alike, and what is said beside estimates that are none."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from coordinator.client import render
from coordinator.client.fits import Estimate, Result
from coordinator.client.texts import ENGLISH, Say
from coordinator.client.training import USUAL_ROUNDS
from privacy.pricing import price
from protocols import statements as st
from protocols.asked import Asked
from protocols.contract import CONTRACT
from protocols.exact import NO_NOISE, is_exact
from protocols.query import Language
from protocols.v1 import link_pb2
from tests.coordinator.client.support.bureau import Bureau

FIT: dict[str, Any] = {
    "fit": "logistic",
    "table": "heart",
    "catalogue": "heart-2026",
    "outcome": {"column": "sick", "category": "yes"},
    "features": [{"column": "age", "low": "20", "high": "80", "unit": "years"}],
}
SURVIVAL = {
    "fit": "cox_stratified",
    "table": "heart",
    "catalogue": "heart-2026",
    "time": {"column": "days", "low": "0", "high": "900"},
    "event": {"column": "dead", "category": "yes"},
    "features": FIT["features"],
}


NOISE = ("--price", "0.2", "--rounds", "3")


def asked(bureau: Bureau, folder: Path, fields: dict[str, Any], *options: str, lang: str = "en") -> tuple[int, st.Query | None]:
    """The program's exit code, and the question that it signed."""
    path = folder / "fit.json"
    path.write_text(json.dumps(fields))
    bureau.desk.asked = lambda envelope: [link_pb2.Progress(query=st.parse(envelope).id, state="logged")]
    code = bureau("train", str(path), "--detach", *options, lang=lang)
    statement = st.parse(bureau.desk.envelopes[-1]).statement if bureau.desk.envelopes else None
    assert statement is None or isinstance(statement, st.Query)
    return code, statement


@pytest.mark.parametrize(("stated", "options"), [(None, ["--exact"]), (True, []), (True, ["--exact"])])
def test_the_flag_and_the_file_ask_the_same_question(
    bureau: Bureau, tmp_path: Path, stated: bool | None, options: list[str]
) -> None:
    code, query = asked(bureau, tmp_path, FIT if stated is None else {**FIT, "exact": stated}, *options)
    assert code == 0
    assert query is not None
    assert (is_exact(query.spec), query.variances, query.floor) == (True, (NO_NOISE,), 5)
    assert "exact" not in query.spec


@pytest.mark.parametrize("stated", [None, False])
def test_without_either_the_question_is_private(bureau: Bureau, tmp_path: Path, stated: bool | None) -> None:
    code, query = asked(bureau, tmp_path, FIT if stated is None else {**FIT, "exact": stated}, *NOISE)
    assert code == 0
    assert query is not None
    assert not is_exact(query.spec)
    assert NO_NOISE not in query.variances


def test_a_private_fit_with_nothing_stated_is_asked_within_the_budget(bureau: Bureau, tmp_path: Path) -> None:
    code, query = asked(bureau, tmp_path, FIT)
    assert code == 0
    assert query is not None
    assert query.rounds == USUAL_ROUNDS
    assert price(CONTRACT.order, Asked.of(query).pieces, query.rounds).one <= CONTRACT.limit("research")


def test_a_price_too_low_for_its_rounds_names_the_least_that_is_not(
    bureau: Bureau, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert asked(bureau, tmp_path, FIT, "--price", "0.1") == (2, None)
    named = re.search(r"widest noise costs, ([0-9.]+):", capsys.readouterr().err)
    assert named is not None
    assert asked(bureau, tmp_path, FIT, "--price", named.group(1))[0] == 0
    less = f"{float(named.group(1)) - 0.0002:.4f}"
    assert asked(bureau, tmp_path, FIT, "--price", less)[0] == 2


WRONG: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "one says no": ({**FIT, "exact": False}, ["--exact"], "exact = false"),
    "a word": ({**FIT, "exact": "yes"}, [], "exact"),
    "with noise": ({**FIT, "exact": True}, ["--sd", "20"], "--sd"),
    "with a price": ({**FIT, "exact": True}, ["--price", "0.1"], "--price"),
    "too few hospitals": ({**FIT, "exact": True}, ["--hospitals", "h01,h02,h03,h04"], "4"),
    "another hospital": ({**FIT, "exact": True}, ["--hospitals", "h77"], "h77"),
    "no private form": (SURVIVAL, [], "cox_stratified"),
    "a shortened row": ({**SURVIVAL, "fit": "cox", "edges": ["300"], "row_clip": "2"}, ["--exact"], "row_clip"),
}


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("case", WRONG)
def test_what_contradicts_exact_mode_ends_with_2_and_signs_nothing(
    bureau: Bureau, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, lang: str
) -> None:
    fields, options, word = WRONG[case]
    code, query = asked(bureau, tmp_path, fields, *options, lang=lang)
    told = capsys.readouterr().err
    assert (code, query) == (2, None)
    assert word in told
    assert "Traceback" not in told


def test_a_kind_without_a_private_form_is_asked_in_exact_mode(bureau: Bureau, tmp_path: Path) -> None:
    code, query = asked(bureau, tmp_path, SURVIVAL, "--exact")
    assert code == 0
    assert query is not None
    assert query.spec["ties"] == "efron"


RESULT = Result((Estimate("age", 0.5, 0.1, 0.01), Estimate("sex=male", math.nan, math.nan)), converged=False)


@pytest.mark.parametrize(("say", "words"), [(ENGLISH, ("NOT CONVERGED", "not determined by the records: sex=male")),
                                            (Say(Language.ZH), ("尚未收敛", "数据无法确定：sex=male"))])  # fmt: skip
def test_estimates_that_are_none_are_told_in_words_and_as_null(say: Say, words: tuple[str, str]) -> None:
    told = render.fit_warnings(RESULT, say)
    assert [word in line for word, line in zip(words, told, strict=True)] == [True, True]
    for_machines = RESULT.to_json()
    assert for_machines["converged"] is False
    assert for_machines["coefficients"][1]["value"] is None
    json.dumps(for_machines, allow_nan=False)
    assert render.fit_warnings(Result(RESULT.estimates[:1], converged=True), say) == []
    out = io.StringIO()
    Console(file=out).print(*told)
    assert out.getvalue()
