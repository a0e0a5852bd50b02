"""A city that counts residents once, in one process: real pair keys, masks and seeds, and the zero test between two sums."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256

import numpy as np

from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.masks import mask, seed_stream_sum
from protocols.secagg.ring import Integers, Vector
from protocols.union import BucketKey, Counter, ResidentKey, Shape, blinded, filled, place_of
from protocols.union.buckets import RING

Random = Callable[[int], bytes]
Patients = Sequence[tuple[int, str]]
"""Of one hospital: cell and resident number."""


@dataclass
class Union:
    """One question. `values` are the released numbers, offsets taken off; a test looks at whatever lies before."""

    hospitals: Sequence[Patients]
    cells: int = 1
    buckets: int = 64
    variance: Fraction = Fraction(1)
    colluders: int = 1
    key: ResidentKey = field(default_factory=lambda: ResidentKey(os.urandom(32)))
    u: bytes = field(default_factory=lambda: os.urandom(32))
    random: Random = os.urandom

    def __post_init__(self) -> None:
        n = len(self.hospitals)
        self.share = skellam_table(share_variance(self.variance, n, self.colluders))
        self.own = skellam_table(self.variance)
        self.shape = Shape(self.cells, self.buckets, n, self.share.tail_bound)
        self.seeds = [os.urandom(32) for _ in range(n)]
        self.noise = [draw(self.share, self.cells) for _ in range(n)]
        self.auditor_noise = draw(self.own, self.cells)

    def vector(self, hospital: int) -> Integers:
        bucket_key = BucketKey.of(self.key, self.u)
        mine = self.hospitals[hospital]
        tags = b"".join(self.key.tag(number) for _, number in mine)
        cells = np.array([cell for cell, _ in mine], dtype=np.int64)
        places = place_of(self.shape, cells, bucket_key.buckets_of(tags, self.buckets))
        return filled(self.shape, places, hospital, self.noise[hospital], self.random)

    def masked_sum(self) -> Vector:
        """Y, at the coordinator."""
        names = [f"kapok://hospital/h{n:02d}" for n in range(len(self.hospitals))]
        keys = [AgreementKey(sha256(name.encode()).digest(), "2026-11") for name in names]
        total: Vector = np.zeros(self.shape.dimension, dtype="<u4")
        for n, own in enumerate(keys):
            others = [k for k in range(len(keys)) if k != n]
            pairs = [own.pair(names[n], names[k], keys[k].public) for k in others]
            total += mask(self.vector(n), RING, self.u, self.seeds[n], pairs)
        return total

    def seed_sum(self) -> Vector:
        """S, at the auditor."""
        return seed_stream_sum(self.seeds, self.shape.dimension, RING, self.u)

    def values(self) -> list[int]:
        counter = Counter(self.random)
        cells = blinded(
            counter.public,
            counter.encrypted(self.masked_sum()),
            self.seed_sum(),
            self.auditor_noise,
            self.own.tail_bound,
            self.random,
        )
        offset = self.shape.offset + self.own.tail_bound
        return [found - offset for found in counter.not_zero(cells)]

    def all_noise(self) -> Integers:
        """What only this test can know."""
        total: Integers = np.sum([*self.noise, self.auditor_noise], axis=0)
        return total
