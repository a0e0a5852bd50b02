# ruff: noqa: E501 - one lie a line
"""Model cards that are logged, proved and signed by the coordinator, and lie in one field: each is named by whoever verifies."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocols import statements as st
from protocols.answer import Proven
from protocols.clock import stamp
from tests.support.trained import ROUNDS, Trained

H1 = "kapok://hospital/h01"


def metric(place: int, **changes: str) -> Callable[[st.ModelCard], dict[str, Any]]:
    def change(card: st.ModelCard) -> dict[str, Any]:
        told = list(card.metrics)
        told[place] = told[place].model_copy(update=changes)
        return {"metrics": tuple(told)}

    return change


LIES: dict[str, tuple[dict[str, Any] | Callable[[st.ModelCard], dict[str, Any]], str]] = {
    "another metric": (metric(0, value="0.990000"), "tells another accuracy than the released counts"),
    "an interval that begins higher": (metric(1, low="0.900000"), "tells another AUC than the released counts"),
    "an interval that ends lower": (metric(2, high="0.100000"), "tells another log-loss than the released counts"),
    "the name of a metric": (metric(0, name="AUC"), "tells other metrics than the released counts"),
    "a metric less": (lambda card: {"metrics": card.metrics[:1]}, "tells other metrics than the released counts"),
    "no metrics": ({"metrics": ()}, "tells other metrics than the released counts"),
    "a smaller epsilon": (lambda card: {"epsilon": f"{float(card.epsilon) - 1e-4:.9g}"}, "its epsilon is not the training's"),
    "a larger epsilon": (lambda card: {"epsilon": f"{float(card.epsilon) + 1e-4:.9g}"}, "its epsilon is not the training's"),
    "an epsilon that is no number": ({"epsilon": "small"}, "its epsilon is not the training's"),
    "an epsilon of nan": ({"epsilon": "nan"}, "its epsilon is not the training's"),
    "a smaller delta": ({"delta": "1e-09"}, "its delta is not the training's"),
    "a larger delta": ({"delta": "1.1e-06"}, "its delta is not the training's"),
    "another price": ({"price": "0.000000001"}, "its price is not the training's"),
    "fewer rounds": ({"rounds": ROUNDS - 1}, "its rounds is not the training's"),
    "another model": ({"model_sha256": "0" * 64}, "is of another model than was released"),
    "another study": ({"study": "mlp"}, "its study is not the training's"),
    "another version": ({"version": "9"}, "its study is not the training's"),
    "another hash of the study": ({"study_sha256": "0" * 64}, "its study is not the training's"),
    "another table": ({"table": "heart"}, "its table is not the training's"),
    "another catalogue": ({"catalogue": "heart-1"}, "its table is not the training's"),
    "more held out": ({"held_out": "0.5"}, "its held-out share is not the training's"),
    "nobody held out": ({"held_out": "0"}, "its held-out share is not the training's"),
    "a hospital that did not answer": (lambda card: {"answered": card.answered[1:], "missing": 1}, "names other hospitals than answered"),
    "a hospital left out of either list": (lambda card: {"answered": card.answered[1:]}, "its number of missing hospitals is not the training's"),
    "a missing hospital": ({"missing": 1}, "its number of missing hospitals is not the training's"),
    "a stranger": (lambda card: {"answered": (*card.answered[1:], "kapok://hospital/zz")}, "its list of hospitals is not the training's"),
    "another question": ({"query": "0" * 64}, "is of another question"),
    "another log": ({"log": "other.log"}, "is for another log"),
}  # fmt: skip
IN_THE_LEDGER = "is of another model", "names other hospitals", "is not the training's"
"""What needs no answer at hand."""


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    made = Trained(tmp_path_factory.mktemp("honest"))
    yield made
    made.city.close()


def test_an_honest_card_has_no_problem_and_tells_metrics(honest: Trained) -> None:
    assert honest.problems(honest.proven(honest.card)) == set()
    assert honest.findings() == set()
    assert [each.name for each in honest.card.metrics] == ["accuracy", "AUC", "log-loss"]


def lied(card: st.ModelCard, lie: str) -> st.ModelCard:
    told = LIES[lie][0]
    return card.model_copy(update=told(card) if callable(told) else told)


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_of_a_card_is_named_by_whoever_has_the_answer(honest: Trained, lie: str) -> None:
    found = honest.problems(honest.proven(lied(honest.card, lie)))
    assert any(each.startswith("card: ") and LIES[lie][1] in each for each in found), found


@pytest.mark.parametrize("lie", [lie for lie, (_, expected) in LIES.items() if any(each in expected for each in IN_THE_LEDGER)])
def test_a_lie_of_a_card_is_found_in_the_ledger_where_it_needs_no_answer(honest: Trained, tmp_path: Path, lie: str) -> None:
    told = LIES[lie][0]
    liar = Trained(tmp_path, **(told(honest.card) if callable(told) else told))
    assert any(LIES[lie][1] in each for each in liar.findings()), liar.findings()
    liar.city.close()


def test_every_field_of_a_card_is_lied_about() -> None:
    """A field that comes later has its lie here too; the time of a statement and who made it are judged for every kind alike."""
    some_card = st.ModelCard.model_construct(
        metrics=(st.Metric(name="a", value="0.000000", low="0.000000", high="0.000000"),) * 3, epsilon="1", answered=(H1,) * 4
    )
    fields = {field for told, _ in LIES.values() for field in (told(some_card) if callable(told) else told)}
    assert set(st.ModelCard.model_fields) - fields == {"at", "by"}


def test_a_card_that_is_not_there_is_missed_and_one_of_another_place_or_signer_is_named(honest: Trained) -> None:
    assert "card: is missing" in honest.problems(None)
    query = Proven(entry=honest.question.entry.decode(), proof=honest.city.prove(honest.question.entry).decode())
    assert "card: expected a model-card statement, got query" in honest.problems(query)
    late = honest.card.model_copy(update={"at": stamp(honest.city.now + 1)})
    assert honest.problems(honest.proven(late)) == {"card: does not stand between query and release"}
    late = late.model_copy(update={"at": stamp(honest.city.now + 3)})
    entry = honest.city.sign(late, honest.city.bureau)
    honest.city.log_entry(entry)
    forged = Proven(entry=entry.decode(), proof=honest.city.prove(entry).decode())
    assert any("card: not signed by an admitted key" in each for each in honest.problems(forged))


def test_metrics_of_a_training_that_held_nobody_out_are_found(honest: Trained, tmp_path: Path) -> None:
    untested = {"fit": "dp_fedavg", "local_steps": 2, "held_out": "0", "longest": "0.5"}
    plain, liar = Trained(tmp_path / "plain", untested), Trained(tmp_path / "liar", untested, metrics=honest.card.metrics)
    assert plain.problems(plain.proven(plain.card)) == plain.findings() == set()
    assert liar.findings() == {"its list of metrics is not the training's"}
    assert "card: tells other metrics than the released counts" in plain.problems(
        plain.proven(plain.card.model_copy(update={"metrics": honest.card.metrics}))
    )
    for each in (plain, liar):
        each.city.close()


def test_a_second_card_of_a_training_is_found(honest: Trained) -> None:
    honest.proven(honest.card.model_copy(update={"at": stamp(honest.city.now + 2)}))
    assert "a second card of one training" in honest.findings()
