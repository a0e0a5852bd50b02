"""One contribution laid bare: masks and noise taken off again, with keys that only a test has and noise from a recorded source.

What is left of two neighbouring hospitals has to differ by no more than is charged (`check`).
"""

import os
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from hospital_node.counting import InstalledPlans
from hospital_node.plans import INSTALLED, Plan, PreparedTablePlan
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from privacy.union import hospital_tail
from protocols import statements as st
from protocols.asked import Asked
from protocols.fit import FitSpec, encode_weights
from protocols.query import QuerySpec
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.binding import Binding
from protocols.secagg.masks import mask
from protocols.secagg.ring import Integers, from_ring
from protocols.secagg.sealing import query_context, round_seed, segment_context, union_context
from tests.hospital_node.support.nodes import Asking, Node
from tests.support import residents

WITH_KEY: dict[type, Plan] = {**INSTALLED, QuerySpec: PreparedTablePlan(lambda: residents.KEY)}
WEIGHTS = encode_weights(np.array([-1.5, 2.0, 0.25, -0.5]))


class SensitivityExceededError(AssertionError):
    """Two neighbouring contributions are further apart than is charged."""


def check(asked: Asked, before: Integers, after: Integers, block: str | None = None) -> None:
    """`block`: whose rows they differ in, where the question has weights and that block is charged by its own."""
    start, share = 0, Fraction(1)
    if asked.weights:
        weight = dict(zip(asked.blocks, asked.weights, strict=True)).get(block or "", 0)
        share = Fraction(weight, max(asked.weights))
    for number, piece in enumerate(asked.pieces):
        l1, l2_squared = share * piece.l1, share**2 * piece.l2_squared
        moved = [abs(int(each)) for each in (before - after)[start : start + piece.length * asked.buckets]]
        start += piece.length * asked.buckets
        if sum(moved) > l1 or sum(each**2 for each in moved) > l2_squared:
            raise SensitivityExceededError(f"piece {number}: {sum(moved)} of {l1}, {sum(e**2 for e in moved)} of {l2_squared}")


class Recorded:
    """Bytes that come again; only a test can pass such a source in."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, size: int) -> bytes:
        return self._random.randbytes(size)


class Shown:
    """A question at one node, whose exact vector a test can see over any records."""

    def __init__(self, asking: Asking, path: Path, write: Callable[[Path, Sequence[Any]], None]) -> None:
        self.asking, self.path, self.write = asking, path, write
        query = st.parse(asking.entry).statement
        assert isinstance(query, st.Query)
        self.asked = Asked.of(query)
        self.input = WEIGHTS if isinstance(self.asked.spec, FitSpec) else b""
        self.round, self.made = self.asked.first_round, 0

    def vector(self, rows: Sequence[Any], installed: dict[type, Plan] | None = None) -> Integers:
        node, query = self.asking.world.first(), self.asking.id.hex()
        self.made += 1
        folder = self.path / f"records-{self.made}"
        self.write(folder, rows)
        contributing = node.answering.contributing
        contributing.plans = node.answering.counts._plans = InstalledPlans(folder, installed or WITH_KEY)
        pinned = contributing.plans.generation()
        node.answering.contributing.forget(query)  # the journal is turned back, which only a test can do
        node.answering.journal._write(lambda database: database.execute("DELETE FROM accepted"))
        node.answering.journal._write(lambda database: database.execute("UPDATE ready SET generation = ?", [pinned]))
        contributing._segments.clear()
        return self._contributed(node)

    def _contributed(self, node: Node) -> Integers:
        binding = self.asking.binding(round=self.round, round_input=self.input)
        contributing = node.answering.contributing
        if not (self.asked.is_training or self.asked.is_of_residents):  # whose noise is drawn behind the Ready
            contributing.random = Recorded(self.made)
            node.answering.speculate(self.asking.id.hex(), 0.0)
        attempt = contributing.accept(binding.encode(), self.input)
        assert not isinstance(attempt, list), attempt
        assert (attempt.share is None) == (self.asked.is_training or self.asked.is_of_residents)
        contributing.random = Recorded(self.made) if attempt.share is None else contributing.random
        stored = contributing.contribute(attempt, 30.0)
        contributing.random = os.urandom
        assert node.answering.journal.note("paused") is None, "the count failed"
        masked = np.frombuffer(stored.masked, f"<u{binding.ring // 8}") - self._masks(node, binding, stored.sealed)
        if self.asked.is_of_residents:
            return self._buckets(masked, binding)
        return from_ring(masked, binding.ring) - self._noise(binding)

    def _buckets(self, filled: np.ndarray[Any, Any], binding: Binding) -> Integers:
        """Which are filled; behind them every cell has as many filled slots of this hospital's as its noise says."""
        [piece] = self.asked.pieces
        tail, members = hospital_tail(piece.variance, binding.n, binding.c), len(binding.members)
        cells = (filled != 0).astype(np.int64).reshape(piece.length, self.asked.buckets + members * 2 * tail)
        assert (cells[:, self.asked.buckets :].sum(axis=1) - tail).tolist() == self._noise(binding).tolist()
        return cells[:, : self.asked.buckets].reshape(-1)

    def _masks(self, node: Node, binding: Binding, sealed: bytes) -> np.ndarray[Any, Any]:
        ready = st.parse(self.asking.readys[node.uri])
        assert isinstance(ready.statement, st.Ready)
        sealing = self.asking.world.opener.keys.find(ready.statement.sealing.month)
        agreement_month = ready.statement.agreement.month
        own_seed = node.answering.journal.agreement_seed(agreement_month)
        assert sealing is not None
        assert own_seed is not None
        if self.asked.is_training:
            rounds = (self.asked.first_round, self.asked.last_round)
            root = sealing.open(sealed, segment_context(binding.origin, self.asking.id, *rounds, ready.id, node.uri))
            seed = round_seed(root, binding.round, binding.attempt, binding.value)
        else:
            context = union_context if self.asked.is_of_residents else query_context
            seed = sealing.open(sealed, context(binding.value, node.uri))
        own = AgreementKey(own_seed, agreement_month)
        pairs = [own.pair(node.uri, each.uri, each.agreement) for each in binding.members if each.uri != node.uri]
        return mask(np.zeros(binding.dimension, np.int64), binding.ring, binding.value, seed, pairs)

    def _noise(self, binding: Binding) -> Integers:
        source = Recorded(self.made)
        if not self.asked.is_training:
            source(32)  # the seed of the masks, or a bounding key that is not needed, is drawn first
        tables = [(skellam_table(share_variance(each.variance, binding.n, binding.c)), each.length) for each in self.asked.pieces]
        return np.concatenate([draw(table, length, source) for table, length in tables])
