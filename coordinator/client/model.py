"""A fit as Python code takes it: by the names that statsmodels gave its results, and as pandas where that is installed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import pyarrow as pa

from coordinator.client.errors import NotGiven
from coordinator.client.render import fit_warnings
from coordinator.client.summary import table_text
from coordinator.client.texts import Say, language
from coordinator.client.training import Fitted
from protocols.fits.words import NAMES
from protocols.query import Language


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Model:
    """A verified fit. Standard errors count sampling and privacy noise together; `is_exact`: without noise, and not private."""

    fitted: Fitted
    stopped: NotGiven | None = None
    """Why a training of several segments ended before its last: a budget, a refusal. What was released by then is the model."""

    @property
    def id(self) -> str:
        return self.fitted.id

    @property
    def is_exact(self) -> bool:
        return self.fitted.is_exact

    @property
    def converged(self) -> bool | None:
        """Whether more rounds would move the estimates no further; None where no rounds lead there."""
        return self.fitted.result.converged

    @property
    def params(self) -> Mapping[str, float]:
        return {each.name: each.value for each in self.fitted.result.estimates}

    @property
    def bse(self) -> Mapping[str, float]:
        return {each.name: each.standard_error for each in self.fitted.result.estimates}

    @property
    def pvalues(self) -> Mapping[str, float | None]:
        """None where an estimate's being zero is no question."""
        return {each.name: each.p_value for each in self.fitted.result.estimates}

    @property
    def figures(self) -> Mapping[str, float]:
        """What stands for the whole fit: R², a test's statistic and p, the rows."""
        return dict(self.fitted.result.figures)

    def conf_int(self, alpha: float = 0.05) -> Mapping[str, tuple[float, float]]:
        """Two-sided, by the normal law."""
        reach = NormalDist().inv_cdf(1 - alpha / 2)
        return {
            each.name: (each.value - reach * each.standard_error, each.value + reach * each.standard_error)
            for each in self.fitted.result.estimates
        }

    def table(self) -> pa.Table:
        rows = [each.to_json() for each in self.fitted.result.estimates]
        return pa.Table.from_pylist(rows)

    def to_pandas(self) -> Any:
        """A DataFrame, a row an estimate. Needs pandas (the extra of that name)."""
        return self.table().to_pandas().set_index("name")

    def to_json(self) -> dict[str, Any]:
        return self.fitted.to_json()

    def summary(self, lang: str | None = None) -> str:
        """As statsmodels prints it; zh, en, or what LANG says."""
        say, result = Say(language(lang, os.environ)), self.fitted.result
        notes = [say("exact.answer" if self.is_exact else "summary.errors")]
        notes += fit_warnings(result, say)
        notes += [self.stopped.told(say)] if self.stopped is not None else []
        return table_text(self._title(say), self._facts(say), result.estimates, notes)

    def _title(self, say: Say) -> str:
        spec = self.fitted.spec
        name = NAMES[spec.fit][0 if say.lang is Language.ZH else 1]
        return say("fit.table_title", name=name, table=spec.table, rounds=self.fitted.rounds)

    def _facts(self, say: Say) -> list[tuple[str, str]]:
        bundle, spec = self.fitted.bundle, self.fitted.spec
        coverage = bundle.coverage
        absent = len(coverage.refused) + len(coverage.away) + len(coverage.left_out)
        block = spec.blocks[0] if len(spec.blocks) == 1 else f"{spec.blocks[0]} … {spec.blocks[-1]}"
        outcome = getattr(spec, "outcome", None)
        facts = [
            (say("summary.outcome"), getattr(outcome, "label", None) or str(outcome or "")),
            (say("summary.hospitals"), f"{len(coverage.answered)}/{len(coverage.answered) + absent}"),
            (say("summary.blocks"), block),
            *((say("summary.price"), bundle.price) for _ in bundle.spending[:1]),
            *((f"ε (δ = {first.delta})", first.epsilon) for first in bundle.spending[:1]),
            *((name, f"{value:.5g}") for name, value in self.fitted.result.figures.items()),
        ]
        return [each for each in facts if each[1]]

    def __repr__(self) -> str:
        return self.summary()
