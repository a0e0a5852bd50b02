"""What this node can compute, by the kind of question: a plan is installed with the program, never sent.

A plan says whether a round's input is one it can read, runs once on empty tables, and turns one generation of the records into the
exact vector. It is total: no record makes it raise.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol

import duckdb
import numpy as np

from hospital_node.fits import fit_sums, newton_sums
from hospital_node.plan import execute, probe, resident_buckets
from hospital_node.plan.prepared import Prepared, execute_prepared
from hospital_node.records.residents import Residents, is_tagged
from hospital_node.records.schema import empty_copy
from hospital_node.studies.plan import TrainingPlan
from hospital_node.tables.matching import empty_table
from protocols.asked import Asked
from protocols.errors import MalformedBytes
from protocols.fit import FitSpec, decode_weights
from protocols.fits import EXACT_KINDS, KINDS, TRAININGS, Fit
from protocols.query import QuerySpec
from protocols.refusal import Reason, Refusal
from protocols.secagg.ring import Integers
from protocols.union import BucketKey


class Plan(Protocol):
    """One kind of question."""

    def require_input(self, asked: Asked, round_input: bytes) -> None:
        """Raises MalformedBytes for an input that this question cannot have."""
        ...

    def probe(self, asked: Asked) -> None: ...

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers: ...


class TablePlan:
    """Table queries: no input, one round. `residents` is the key in force, read where residents are asked for."""

    def __init__(self, residents: Callable[[], Residents | None] = lambda: None) -> None:
        self._residents = residents

    def require_input(self, asked: Asked, round_input: bytes) -> None:
        if round_input:
            raise MalformedBytes(f"a table query has no input, got {len(round_input)} bytes")

    def probe(self, asked: Asked) -> None:
        _probed(_table(asked))

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        if asked.is_of_residents:
            return self._buckets(asked, records, bounding_key)
        return execute(_table(asked), records, bounding_key, is_bounded=not asked.is_exact)

    def refusals(self, asked: Asked, records: duckdb.DuckDBPyConnection) -> list[Refusal]:
        """Why residents are not counted here: no key, or records that were not imported under it. Looks at no record."""
        if not asked.is_of_residents:
            return []
        residents = self._residents()
        if residents is None:
            return [Refusal(Reason.NO_RESIDENT_KEY, "the residents' key of the city", "none")]
        if not is_tagged(records, residents.fingerprint):
            return [Refusal(Reason.NO_RESIDENT_TAGS, "records imported with resident numbers under the key in force", "others")]
        return []

    def _buckets(self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes) -> Integers:
        residents = self._residents()
        if residents is None:
            raise LookupError("the residents' key is gone")
        question = BucketKey.of(residents.key, asked.query.envelope().statement_id())
        return resident_buckets(_table(asked), records, bounding_key, residents.fingerprint, question)


class PreparedTablePlan(TablePlan):
    """The same over imported records: a generation of them stays as it is, so that what one question bounded serves the next."""

    def run_prepared(self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, prepared: Prepared) -> Integers:
        """The integers of `run`. `prepared` is of the generation that `records` reads."""
        if asked.is_exact or asked.is_of_residents:
            return self.run(asked, records, bounding_key, b"", 1)
        return execute_prepared(_table(asked), records, bounding_key, prepared)


class LogisticPlan:
    """Newton rounds over visits; the input are the public weights."""

    def require_input(self, asked: Asked, round_input: bytes) -> None:
        decode_weights(round_input, _fit(asked))

    def probe(self, asked: Asked) -> None:
        with empty_copy() as records:
            newton_sums(_fit(asked), records, np.zeros(len(_fit(asked).columns)))

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        return newton_sums(_fit(asked), records, decode_weights(round_input, _fit(asked)))


class FitPlan:
    """Fits over registered tables; the input are the public numbers of the round, none in a fit of one."""

    def require_input(self, asked: Asked, round_input: bytes) -> None:
        _registered(asked).decode(round_input)

    def probe(self, asked: Asked) -> None:
        spec = _registered(asked)
        with empty_table(spec) as records:
            fit_sums(spec, records, spec.start() if spec.inputs else np.zeros(0))

    def run(
        self, asked: Asked, records: duckdb.DuckDBPyConnection, bounding_key: bytes, round_input: bytes, number: int
    ) -> Integers:
        return fit_sums(_registered(asked), records, _registered(asked).decode(round_input))


@lru_cache(128)
def _probed(spec: QuerySpec) -> None:
    # The tables are empty and the program stays: what ran once runs again. What raises is not kept.
    probe(spec)


def _table(asked: Asked) -> QuerySpec:
    if not isinstance(asked.spec, QuerySpec):
        raise TypeError("a table plan was given another question")
    return asked.spec


def _fit(asked: Asked) -> FitSpec:
    if not isinstance(asked.spec, FitSpec):
        raise TypeError("a fit was given another question")
    return asked.spec


def _registered(asked: Asked) -> Fit:
    if not isinstance(asked.spec, Fit):
        raise TypeError("a fit of a registered table was given another question")
    return asked.spec


_FITS = FitPlan()
INSTALLED: dict[type, Plan] = {
    QuerySpec: PreparedTablePlan(),
    FitSpec: LogisticPlan(),
    **dict.fromkeys([*KINDS.values(), *EXACT_KINDS.values()], _FITS),
}


def installed(home: Path) -> dict[type, Plan]:
    """Of this node: what runs everywhere, and the studies that its IT has accepted."""
    return {**INSTALLED, QuerySpec: PreparedTablePlan(partial(Residents.of, home)), **dict.fromkeys(TRAININGS, TrainingPlan(home))}
