"""Counting residents once: the zero test beside the multiples of points that it is made of, and how exact its answer is.

Its error stands beside that of summed distinct counts at the same price: those count a resident once at each hospital.
"""

import os
import time
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec

from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from privacy.union import distinct, hospital_tail, relative_sd, total_variance
from protocols.union import Counter, blinded
from protocols.union.curve import CURVE, ORDER
from simulations.bench.rows import Row, load
from simulations.bench.turns import interleaved

BUCKETS = 512
HOSPITALS, COLLUDERS = 12, 3
BASE_MULTIPLES, POINT_MULTIPLES = 4, 4
"""A bucket needs rG, (Y+1+rx)G, sG, (S+1)G, and of other points sP, two by the auditor's factor and one by the secret."""


def rows(is_quick: bool) -> Sequence[Row]:
    runs = 200 if is_quick else 2000
    return [_zero_test(1 if is_quick else 5), _whole_opening(), _error(runs), *_beside_summed_counts(runs)]


def _zero_test(turns: int) -> Row:
    masked = np.frombuffer(os.urandom(4 * BUCKETS), "<u4")
    counter, noise = Counter(os.urandom), np.zeros(1, np.int64)

    def ours() -> None:
        if counter.not_zero(blinded(counter.public, counter.encrypted(masked), masked, noise, 0, os.urandom)) != [0]:
            raise AssertionError("equal sums were not counted as empty buckets")

    def reference() -> None:
        for _ in range(BUCKETS):
            keys = [ec.derive_private_key(1 + int.from_bytes(os.urandom(32)) % (ORDER - 1), CURVE) for _ in range(BASE_MULTIPLES)]
            for key in keys[:POINT_MULTIPLES]:
                key.exchange(ec.ECDH(), keys[0].public_key())

    found = interleaved(ours, reference, turns)
    how = f"{BUCKETS} buckets, encrypt + blind + count, processor time, {turns} turns beside OpenSSL's bare multiples; {load()}"
    per_bucket = 1000 / BUCKETS
    return Row.measured(
        "residents: zero test, one bucket",
        "ms",
        found.median * per_bucket,
        how,
        bar="<= 2.0",
        reference=found.median_reference * per_bucket,
        ratio=found.ratio,
    )


def _error(runs: int, residents: int = 10_000, buckets: int = 16_384, variance: Fraction = Fraction(16)) -> Row:
    """Against the announced deviation, over throws and noise as they really are."""
    noise, random = total_variance(variance, HOSPITALS, HOSPITALS, COLLUDERS), np.random.default_rng()
    drawn = draw(skellam_table(noise), runs)
    thrown = (np.count_nonzero(np.bincount(random.integers(0, buckets, residents), minlength=buckets)) for _ in range(runs))
    found = [distinct(int(each) + int(extra), buckets, noise) for each, extra in zip(thrown, drawn, strict=True)]
    errors = np.array([each.value - residents for each in found if each is not None])
    announced = 100 * relative_sd(residents, buckets, noise)
    how = f"{runs} throws of {residents:,} residents into {buckets:,} buckets, variance {variance} a side, {HOSPITALS} hospitals"
    rmse = 100 * float(np.sqrt((errors**2).mean())) / residents
    return Row.measured("residents: error of a city's total", "%", rmse, how, bar="<= 1.1", reference=announced)


def _whole_opening(buckets: int = 4096, variance: Fraction = Fraction(16)) -> Row:
    """All that auditor and coordinator do for a city's total, noise slots included."""
    slots = HOSPITALS * 2 * hospital_tail(variance, HOSPITALS, COLLUDERS)
    masked, own = np.frombuffer(os.urandom(4 * (buckets + slots)), "<u4"), skellam_table(variance)
    counter, started = Counter(os.urandom), time.process_time()
    encrypted = counter.encrypted(masked)
    counter.not_zero(blinded(counter.public, encrypted, masked, draw(own, 1), own.tail_bound, os.urandom))
    how = f"{buckets:,} buckets and {slots:,} noise slots of {HOSPITALS} hospitals, processor time of both sides, once; {load()}"
    return Row.measured("residents: opening a city's total", "s", time.process_time() - started, how)


def _beside_summed_counts(
    runs: int, residents: int = 10_000, buckets: int = 16_384, variance: Fraction = Fraction(16)
) -> Sequence[Row]:
    """A city in which a resident is a patient of 1 + Poisson(0.4) hospitals, as a guess; both questions at one price."""
    random = np.random.default_rng()
    summed_noise = HOSPITALS * share_variance(variance, HOSPITALS, COLLUDERS)
    seen = np.minimum(1 + random.poisson(0.4, (runs, residents)), HOSPITALS).sum(axis=1)
    summed = seen + draw(skellam_table(summed_noise), runs) - residents
    noise = total_variance(variance, HOSPITALS, HOSPITALS, COLLUDERS)
    drawn = draw(skellam_table(noise), runs)
    thrown = (np.count_nonzero(np.bincount(random.integers(0, buckets, residents), minlength=buckets)) for _ in range(runs))
    found = [distinct(int(each) + int(extra), buckets, noise) for each, extra in zip(thrown, drawn, strict=True)]
    told = [each for each in found if each is not None and each.high is not None]
    errors = np.array([each.value - residents for each in told])
    covered = np.mean([each.low <= residents <= each.high for each in told if each.high is not None])
    rmse, bias = (100 * float(np.sqrt((each.astype(np.float64) ** 2).mean())) / residents for each in (errors, summed))
    how = f"{runs} cities of {residents:,} residents, {buckets:,} buckets, variance {variance}, {HOSPITALS} hospitals"
    return [
        Row.measured("residents: error beside summed counts", "%", rmse, how, bar="<= 0.1", reference=bias),
        Row.measured("residents: 95 % interval covers", "%", 100 * float(covered), how, bar=">= 93.5"),
    ]
