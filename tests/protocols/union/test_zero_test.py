"""What the coordinator can see of a blind OR, however it lies; each lie succeeds against a zero test with that step left out."""

import math
import os
import secrets
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.union import BadCiphertext, Counter, blinded, zero_test
from protocols.union.curve import CURVE, ORDER, Multiples, Point, base_multiple, negative, sums, x_of_lifted, x_of_multiples
from protocols.union.zero_test import ENTRY_BYTES, WORDS

NONE = np.array([0])


def words(count: int) -> WORDS:
    return np.frombuffer(os.urandom(4 * count), dtype="<u4")


def pairs(cell: bytes) -> list[tuple[bytes, bytes]]:
    return [(cell[at : at + 32], cell[at + 32 : at + 64]) for at in range(0, len(cell), 64)]


@pytest.mark.parametrize("equal", [0, 1, 7, 20])
def test_the_coordinator_counts_what_is_not_zero(equal: int) -> None:
    seeds, masked = words(20), words(20).copy()
    masked[:equal] = seeds[:equal]
    counter = Counter(os.urandom)
    cells = blinded(counter.public, counter.encrypted(masked), seeds, np.array([2]), 3, os.urandom)
    assert counter.not_zero(cells) == [20 - equal + 3 + 2]


@pytest.mark.parametrize("drawn", [-3, 0, 3])
def test_a_cell_has_as_many_entries_whatever_was_drawn(drawn: int) -> None:
    """Their number would tell the auditor's noise, and with it the exact count."""
    counter, seeds = Counter(os.urandom), words(4)
    [cell] = blinded(counter.public, counter.encrypted(seeds), seeds, np.array([drawn]), 3, os.urandom)
    assert len(pairs(cell)) == 4 + 2 * 3
    assert counter.not_zero([cell]) == [3 + drawn]


def test_the_extreme_words_are_words_like_others() -> None:
    seeds = np.array([0, 2**32 - 1, 0, 2**32 - 1], dtype="<u4")
    masked = np.array([0, 2**32 - 1, 2**32 - 1, 0], dtype="<u4")
    counter = Counter(os.urandom)
    assert counter.not_zero(blinded(counter.public, counter.encrypted(masked), seeds, NONE, 0, os.urandom)) == [2]


def test_the_same_question_blinded_twice_shares_no_byte_string() -> None:
    seeds = words(8)
    counter = Counter(os.urandom)
    encrypted = counter.encrypted(seeds)
    first, second = (blinded(counter.public, encrypted, seeds, NONE, 0, os.urandom)[0] for _ in range(2))
    assert not {x for pair in pairs(first) for x in pair} & {x for pair in pairs(second) for x in pair}


@pytest.mark.parametrize(
    ("public", "encrypted"),
    [
        (bytes(64), None),
        (bytes(63), None),
        (b"\xff" * 64, None),
        (None, bytes(ENTRY_BYTES * 4)),
        (None, b"\1" * ENTRY_BYTES * 4),
        (None, b""),
    ],
)
def test_bytes_that_are_no_ciphertexts_are_refused(public: bytes | None, encrypted: bytes | None) -> None:
    counter, seeds = Counter(os.urandom), words(4)
    given = counter.public if public is None else public, counter.encrypted(seeds) if encrypted is None else encrypted
    with pytest.raises(BadCiphertext):
        blinded(*given, seeds, NONE, 0, os.urandom)


@pytest.mark.parametrize("cell", [(1).to_bytes(32) * 2, bytes(63), b"\xff" * 64])
def test_a_blinded_cell_that_is_none_is_refused(cell: bytes) -> None:
    with pytest.raises(BadCiphertext):
        Counter(os.urandom).not_zero([cell])


@pytest.mark.parametrize(("noise", "tail"), [([4], 3), ([], 3), ([0, 0, 0], 3)])
def test_noise_that_does_not_fit_is_our_own_fault(noise: list[int], tail: int) -> None:
    counter, seeds = Counter(os.urandom), words(4)
    with pytest.raises(ValueError, match="one draw a cell"):
        blinded(counter.public, counter.encrypted(seeds), seeds, np.array(noise, dtype=np.int64), tail, os.urandom)


# -- a lying coordinator


def _under(key: int, masked: int) -> bytes:
    """One bucket, encrypted under a key of its own: a mark to know it by."""
    hiding = secrets.randbelow(ORDER - 1) + 1
    made = base_multiple(hiding), base_multiple((masked + 1 + key * hiding) % ORDER)
    return b"".join(x.to_bytes(32) for point in made for x in point)


def _recognised(keys: Sequence[int], cell: bytes) -> int:
    """Entries that a bucket's own key opens to zero."""
    holders = [ec.derive_private_key(key, CURVE) for key in keys]
    return sum(x_of_lifted(holder, first) == second for first, second in pairs(cell) for holder in holders)


def test_a_bucket_marked_by_a_key_of_its_own_is_not_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distinct keys would undo the shuffle, bucket by bucket. They do, where no fresh encryption of zero is added."""
    seeds, keys = words(6), [secrets.randbelow(ORDER - 1) + 1 for _ in range(6)]
    marked = b"".join(_under(key, int(seed)) for key, seed in zip(keys, seeds, strict=True))
    counter = Counter(os.urandom)
    assert _recognised(keys, blinded(counter.public, marked, seeds, NONE, 0, os.urandom)[0]) == 0
    monkeypatch.setattr(zero_test, "_fresh", _not_fresh)
    assert _recognised(keys, blinded(counter.public, marked, seeds, NONE, 0, os.urandom)[0]) == 6


def _not_fresh(
    holder: Multiples, hiding: Sequence[Point], hidden: Sequence[Point], seeds: Sequence[int], random_bytes: zero_test.Random
) -> list[bytes]:
    """Broken on purpose: a fresh factor, and no fresh encryption of zero."""
    less = sums(hidden, [base_multiple(ORDER - int(each) - 1) for each in seeds])
    scalars = (secrets.randbelow(ORDER - 1) + 1 for _ in seeds)
    return [b"".join(x_of_multiples(k, pair)) for k, pair in zip(scalars, zip(hiding, less, strict=True), strict=True)]


def test_a_number_that_a_hospital_put_in_is_not_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hospital knows its random numbers: a bucket that it alone filled must not open to one of them. It does without a factor."""
    seeds, own = words(6), words(6)
    counter = Counter(os.urandom)
    encrypted = counter.encrypted(seeds + own)
    assert _numbers_found(counter, blinded(counter.public, encrypted, seeds, NONE, 0, os.urandom)[0], own.tolist()) == 0
    monkeypatch.setattr(zero_test, "x_of_multiples", lambda factor, points: [x.to_bytes(32) for x, _ in points])
    assert _numbers_found(counter, blinded(counter.public, encrypted, seeds, NONE, 0, os.urandom)[0], own.tolist()) == 6


def _numbers_found(counter: Counter, cell: bytes, numbers: Sequence[int]) -> int:
    """Entries that open to a known number times the base, up to the signs that an x leaves open."""
    holder = ec.derive_private_key(counter.secret, CURVE)
    # The sum is modulo 2^32 and the exponent is not: a difference that wrapped opens to the number less 2^32.
    known = {base_multiple(each % ORDER)[0] for number in numbers for each in (number, number - 2**32)}
    found = 0
    for first, second in pairs(cell):
        hiding, hidden = lifted(x_of_lifted(holder, first)), lifted(second)
        found += any(x in known for x, _ in sums([hidden, hidden], [hiding, negative(hiding)]))
    return found


def lifted(x: bytes) -> Point:
    numbers = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, b"\2" + x).public_numbers()
    return numbers.x, numbers.y


@pytest.mark.statistical
def test_a_coordinator_that_fills_all_but_one_bucket_still_meets_the_auditor_s_noise() -> None:
    """It drops the hospitals' noise and all other buckets, and asks for one resident's. Cells are trials."""
    trials, variance = 100, Fraction(1)
    table = skellam_table(variance)
    secret = np.frombuffer(os.urandom(trials), np.uint8) % 2 == 1
    seeds = words(2 * trials)
    masked = words(2 * trials).copy()
    masked[::2] = np.where(secret, masked[::2], seeds[::2])
    counter = Counter(os.urandom)
    noise = draw(table, trials)
    cells = blinded(counter.public, counter.encrypted(masked), seeds, noise, table.tail_bound, os.urandom)
    guess = np.array(counter.not_zero(cells)) - 1 - table.tail_bound > 0
    # Against this noise the best guess is right (1 + P(0)) / 2 of the time, 73.3 %; five standard errors of 100 trials are 22
    # points (an alarm in 1.7 million runs). Without the noise it is right every time, as the next lines say.
    best = (1 + float(table.cumulative(0) - table.cumulative(-1))) / 2
    assert abs((guess == secret).mean() - best) < 5 * math.sqrt(best * (1 - best) / trials)
    bare = blinded(counter.public, counter.encrypted(masked), seeds, np.zeros(trials, np.int64), 0, os.urandom)
    assert ((np.array(counter.not_zero(bare)) - 1 > 0) == secret).all()


@pytest.mark.statistical
def test_an_empty_bucket_comes_back_at_any_place() -> None:
    # Of 200 blindings of four buckets, the first empty: chi-square with 3 degrees of freedom, above 35 in 10^-7 of runs.
    counter, seeds = Counter(os.urandom), words(200 * 4)
    masked = seeds + np.uint32(1)
    masked[::4] = seeds[::4]
    cells = blinded(counter.public, counter.encrypted(masked), seeds, np.zeros(200, np.int64), 0, os.urandom)
    holder = ec.derive_private_key(counter.secret, CURVE)
    places = [next(n for n, (a, b) in enumerate(pairs(cell)) if x_of_lifted(holder, a) == b) for cell in cells]
    assert ((np.bincount(places, minlength=4) - 50.0) ** 2 / 50).sum() < 35
