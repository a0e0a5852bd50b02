"""A training of more rounds than a question may have: its segments, what they cost together, and how it is taken up again."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from coordinator.client.segments import lengths
from privacy.pricing import price
from protocols import statements as st
from protocols.asked import Asked
from protocols.contract import CONTRACT
from protocols.fits import Training
from protocols.v1 import link_pb2
from tests.coordinator.client.support.bureau import Bureau

TRAINING: dict[str, Any] = {
    "fit": "dp_sgd", "study": {"name": "logistic", "version": "0.1.0", "sha256": "ab" * 32}, "table": "wards",
    "catalogue": "wards-1", "outcome": {"column": "ill", "category": "yes"},
    "features": [{"column": "marker", "low": "-1", "high": "1"}],
    "weights": 2, "longest": "1", "fineness": 128, "step": "1", "spread": "0.5",
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "training.json"
    path.write_text(json.dumps(TRAINING))
    return str(path)


def _train(bureau: Bureau, file: str, *options: str) -> int:
    bureau.desk.asked = lambda envelope: [link_pb2.Progress(query=st.parse(envelope).id, state="logged")]
    return bureau("train", file, "--rounds", "120", *options)


def _queries(bureau: Bureau) -> list[st.Query]:
    found = [st.parse(each).statement for each in bureau.desk.envelopes]
    assert all(isinstance(each, st.Query) for each in found)
    return [each for each in found if isinstance(each, st.Query)]


@pytest.mark.parametrize("rounds", [2, 50, 51, 99, 100, 101, 2000])
def test_segments_are_as_few_and_as_even_as_can_be(rounds: int) -> None:
    found = lengths(rounds)
    assert sum(found) == rounds
    assert len(found) == -(-rounds // CONTRACT.segment_rounds)
    assert max(found) - min(found) <= 1
    assert all(Training.fewest_rounds <= each <= CONTRACT.segment_rounds for each in found)


@pytest.mark.wire
def test_the_segments_of_a_training_name_each_other_and_cost_together_what_was_stated(
    bureau: Bureau, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(bureau, file, "--price", "0.12", "--detach", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    queries, ids = _queries(bureau), [st.parse(each).hex_id for each in bureau.desk.envelopes]
    assert told["segments"] == ids
    assert [each.rounds for each in queries] == [40, 40, 40]
    assert [each.spec.get("after") for each in queries] == [None, *ids[:-1]]
    assert [each.spec["spread"] for each in queries] == ["0.5", "0", "0"], "only the first begins at random weights"
    assert len({each.variances for each in queries}) == 1, "one noise in all rounds"
    cost = sum(price(CONTRACT.order, Asked.of(each).pieces, each.rounds).one for each in queries)
    assert Fraction("0.119") < cost <= Fraction("0.12")


@pytest.mark.wire
def test_a_training_that_no_budget_can_pay_is_not_begun(bureau: Bureau, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of its segments could be paid; all together cannot."""
    assert _train(bureau, file, "--price", "0.5", "--detach") == 2
    assert f"{float(CONTRACT.limit('research')):.4f}" in capsys.readouterr().err
    assert bureau.desk.envelopes == []


@pytest.mark.wire
def test_any_segment_finds_the_others_and_what_the_city_lacks_is_asked_with_the_same_bytes(
    bureau: Bureau, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(bureau, file, "--price", "0.12", "--detach", "--json") == 0
    ids = json.loads(capsys.readouterr().out)["segments"]
    envelopes = list(bureau.desk.envelopes)
    bureau.desk.envelopes.clear()
    bureau.desk.unknown = {bytes.fromhex(each) for each in ids[1:]}  # the program ended after it had sent the first
    over = link_pb2.Reason(code="budget.exhausted", expected="0.01", got="0.04", subject="static:wards-1")
    bureau.desk.watched = lambda query: [
        link_pb2.Progress(query=query, state="running"),
        link_pb2.Progress(query=query, state="failed", refusals=[over], is_last=True),
    ]
    assert bureau("resume", ids[2][:12]) == 1
    assert "budget" in capsys.readouterr().err
    assert bureau.desk.envelopes == envelopes[1:]


@pytest.mark.wire
def test_a_fit_of_another_kind_has_no_segments(bureau: Bureau, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fit.json"
    period = {"from": "2026-10-01", "to": "2026-12-01"}
    path.write_text(json.dumps({"fit": "logistic", "table": "visits", "outcome": "IMP", "features": ["age"], "period": period}))
    assert _train(bureau, str(path), "--sd", "18") == 2
    assert "50" in capsys.readouterr().err
    assert bureau.desk.envelopes == []
