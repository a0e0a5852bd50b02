"""A training that was answered in a city in memory, with its model card: question, price and epsilon are the product's own.

The city's sums have no noise, which no rule can see.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from audit_ledger import cost
from audit_ledger.bundle import verify_answer
from audit_ledger.findings import Rule
from coordinator.release import spending
from privacy.union import released_variance
from protocols import statements as st
from protocols.answer import Answer, Proven
from protocols.asked import Asked, variance_text
from protocols.fits import Evaluated, of_fields
from protocols.fits.metrics import metrics_of
from protocols.secagg.binding import Binding
from protocols.secagg.masks import values_hash
from protocols.secagg.ring import Integers
from tests.support.city import COORDINATOR, City, Question

SPEC = {
    "version": 3,
    "fit": "dp_sgd",
    "study": {"name": "logistic", "version": "0.1.0", "sha256": "ab" * 32},
    "table": "wards",
    "catalogue": "wards-1",
    "period": {"from": "2026-10-01", "to": "2026-12-01"},
    "outcome": {"column": "ill", "category": "yes"},
    "features": [{"column": "x", "low": "-1", "high": "1", "unit": ""}],
    "weights": 2,
    "longest": "1",
    "fineness": 8,
    "step": "1",
    "held_out": "0.25",
    "bins": 4,
}
ROUNDS, VARIANCE = 6, "8000.0000"


class Trained:
    """A training that tests its model: Readys, opening and receipts of its last round, then its card, then its release."""

    def __init__(self, path: Path, spec: dict[str, Any] | None = None, **lie: Any) -> None:
        self.city = City(path)
        stated = {"spec": of_fields({**SPEC, **(spec or {})}).to_json(), "variances": (VARIANCE,)}
        self.question = Question(self.city, self.city.opener(), "research", rounds=ROUNDS, stated=stated, apart=100)
        self.asked = Asked.of(self.question.query)
        assert isinstance(self.asked.spec, Evaluated)
        self.spec = self.asked.spec
        self.city.approve(self.question.id.hex())
        self.question.all_ready(first=ROUNDS, last=ROUNDS)
        self.question.last_input = tuple(range(self.spec.inputs))
        asked = self.question.request(self.question.binding(round=ROUNDS, dimension=self.spec.width))
        request = replace(asked, first_round=ROUNDS, last_round=ROUNDS)
        self.values = self.question.finish(request, self.question.open(request), before=lambda *of: self._log_card(*of, **lie))

    def _log_card(self, binding: Binding, values: Integers, **lie: Any) -> None:
        self.card = self._honest(binding, values).model_copy(update=lie)
        self.city.log_entry(self.city.sign(self.card, self.city.coordinator))

    def _honest(self, binding: Binding, values: Integers) -> st.ModelCard:
        """Of the coordinator's own figures."""
        spec, spent = self.spec, spending(self.asked, binding)[0]
        variance = variance_text(released_variance(self.asked.pieces[0], len(binding.members), binding.n, binding.c))
        found = metrics_of(spec, [int(each) for each in values], variance)
        return st.ModelCard(
            **self.city.head(COORDINATOR), query=self.question.id.hex(), rounds=ROUNDS, model_sha256=values_hash(values).hex(),
            study=spec.study.name, version=spec.study.version, study_sha256=spec.study.sha256, table=spec.table,
            catalogue=spec.catalogue, answered=tuple(each.uri for each in binding.members), missing=0, price=cost.price(self.asked),
            epsilon=spent.epsilon, delta=spent.delta, held_out=spec.held_out,
            metrics=tuple(st.Metric(name=each.name, value=each.value, low=each.low, high=each.high) for each in found),
        )  # fmt: skip

    def proven(self, card: st.ModelCard) -> Proven:
        """As it stands in the log, which it is appended to where it does not yet."""
        entry = self.city.sign(card, self.city.coordinator)
        if entry not in self.city.log.entries(0, self.city.log.size):
            self.city.log_entry(entry)
        return Proven(entry=entry.decode(), proof=self.city.prove(entry).decode())

    def answer(self, card: Proven | None) -> Answer:
        return self.question.answer(self.values).model_copy(update={"card": card})

    def problems(self, card: Proven | None) -> set[str]:
        """Of an answer that holds this card."""
        report = verify_answer(self.answer(card).model_dump_json().encode(), self.city.trust, self.city.now)
        return {f"{each.place}: {each.what}" for each in report.problems}

    def findings(self) -> set[str]:
        """Of the ledger alone, without an answer."""
        return {each.detail for each in self.city.findings() if each.rule is Rule.MODEL}
