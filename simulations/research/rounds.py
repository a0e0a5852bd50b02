"""A fit over several hospitals without the wire: inputs as bytes, the nodes' sums as integers, the noise of the product.

What a real city adds is masks, signatures and a ledger; they change no released integer.
"""

import os
from collections.abc import Callable, Sequence
from fractions import Fraction

import duckdb
import numpy as np
import numpy.typing as npt

from coordinator.client.fits import Result, read_result
from coordinator.training import next_input, trained_values
from hospital_node.fits import fit_sums
from hospital_node.fits.rows import Rows
from hospital_node.fits.sums import CONTRIBUTIONS, bounded
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.asked import VARIANCE_STEPS
from protocols.contract import colluders
from protocols.fits import Fit, Floats
from protocols.secagg.binding import Binding, Member

Integers = npt.NDArray[np.int64]
Sums = Callable[[Floats], Integers]
"""What all hospitals together add up at a round's input, before any noise."""


def by_rounds(fit: Fit, held: Sequence[duckdb.DuckDBPyConnection], rounds: int, variance: Fraction = Fraction(0)) -> Result:
    """What a city of these hospitals would release. `variance` is what the statement asks for; exact mode has none."""

    def sums(numbers: Floats) -> Integers:
        total: Integers = np.sum([fit_sums(fit, records, numbers) for records in held], axis=0)
        return total

    return released(fit, sums, len(held), rounds, variance)


def of_rows(fit: Fit, held: Sequence[Rows]) -> Sums:
    """The sums of a private round over rows that are read already, one a patient."""

    def sums(numbers: Floats) -> Integers:
        total: Integers = np.sum([bounded(fit, CONTRIBUTIONS[type(fit)](fit, rows, numbers)).sum(axis=0) for rows in held], axis=0)
        return total

    return sums


def released(fit: Fit, sums: Sums, hospitals: int, rounds: int, variance: Fraction) -> Result:
    """Every round as nodes and coordinator make it, read as the bureau reads it."""
    binding = _binding(fit, hospitals, variance)
    share = share_variance(variance, binding.n, binding.c)
    numbers, vector = fit.start(), np.zeros(fit.width, np.int64)
    for _ in range(rounds):
        vector = sums(fit.decode(fit.encode(numbers))) + _noise(fit, share, hospitals)
        numbers = next_input(fit, numbers, vector, binding) if fit.inputs else numbers
    return read_result(fit, trained_values(fit, numbers, vector) if fit.inputs else vector, hospitals * share, hospitals)


def _noise(fit: Fit, share: Fraction, hospitals: int) -> Integers:
    if not share:
        return np.zeros(fit.width, np.int64)
    total: Integers = np.sum([draw(skellam_table(share), fit.width, os.urandom) for _ in range(hospitals)], axis=0)
    return total


def _binding(fit: Fit, hospitals: int, variance: Fraction) -> Binding:
    """What of a round's binding the next input depends on; the rest is filled in."""
    uris = tuple(f"kapok://hospital/h{number:02d}" for number in range(hospitals))
    return Binding(
        origin="-", query=bytes(32), round=1, attempt=1, input_hash=bytes(32), dimension=fit.width, ring=64, scale=fit.scale,
        variances=(int(variance * VARIANCE_STEPS),), n=hospitals, c=colluders(hospitals), not_after=1,
        members=tuple(Member(uri, bytes(32), bytes(32)) for uri in uris), counting=uris,
    )  # fmt: skip
