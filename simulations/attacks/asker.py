"""Whom an attack asks: a city that answers with noise and refuses, or the bare records."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from hospital_node.plan import execute
from hospital_node.records.schema import open_read_only
from protocols.query import QuerySpec
from protocols.secagg.ring import Integers


class Refused(Exception):
    """The city said no. `codes` are its reasons."""

    def __init__(self, codes: Sequence[str]) -> None:
        self.codes = tuple(codes)
        super().__init__(", ".join(codes))


@dataclass(frozen=True, slots=True)
class Told:
    """One answer: the released integers, the variance of all noise in them, and the price on the patient's block."""

    values: Integers
    variance: Fraction
    price: Fraction


class Asker(Protocol):
    """What every asker of a city can do, and an attacker can do no more."""

    def __call__(self, spec: QuerySpec, variance: Fraction) -> Told:
        """Noise of at least this variance from the honest hospitals alone. Raises Refused."""
        ...


@dataclass(frozen=True, slots=True)
class ExactAsker:
    """The control: the same records without noise or budget. An attack that fails here shows nothing."""

    folders: tuple[Path, ...]

    def __call__(self, spec: QuerySpec, variance: Fraction) -> Told:
        total = np.zeros(spec.grid().size, dtype=np.int64)
        for folder in self.folders:
            with open_read_only(folder) as records:
                total += execute(spec, records, bytes(32))
        return Told(total, Fraction(0), Fraction(0))
