"""What trainings cost: sums of models beside their masks and beside Flower's SecAgg+, and patients' gradients beside Opacus' and
beside plain SGD, which takes one gradient of the whole batch.

Flower's side is its own functions (key agreement, Shamir shares, encryption, masks), in one process and without its network, for a
few of the members and counted for all: each does the same. Ours is everything that members, auditor and aggregator do.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from simulations.bench.rows import Row, load
from simulations.bench.secagg import found_round, masks_and_verifications
from simulations.bench.turns import interleaved, stepwise

LARGE, LARGE_ENTRIES = 64, 1_000_000
MEMBERS, ENTRIES = 32, 100_000
SAMPLED = 4
"""Members of Flower's side that are run."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}


def rows(is_quick: bool = False) -> list[Row]:
    return [_large(is_quick), _beside_flower(is_quick), *_gradients(is_quick)]


def _large(is_quick: bool) -> Row:
    members, entries = (16, 100_000) if is_quick else (LARGE, LARGE_ENTRIES)
    round_ = found_round(members, entries)
    measured = stepwise(round_.steps, lambda: masks_and_verifications(round_), 1)
    how = f"{members} x {entries:,}, processor time, one turn after a warm one, the sides alternating by member; {load()}"
    return Row.measured(
        "a secure sum of large models beside its masks and verifications", "s", measured.median, how,
        bar="" if is_quick else "<= 1.5",
        reference=measured.median_reference, ratio=measured.ratio,
    )  # fmt: skip


def _beside_flower(is_quick: bool) -> Row:
    round_ = found_round(MEMBERS, ENTRIES)
    measured = interleaved(lambda: list(round_.steps()), _flower(MEMBERS, ENTRIES), 1 if is_quick else 2)
    theirs = measured.median_reference * MEMBERS / SAMPLED
    how = f"{MEMBERS} x {ENTRIES:,}, processor time; Flower's functions for {SAMPLED} members and the server's part; {load()}"
    return Row.measured(
        "Flower's SecAgg+ beside a secure sum", "s", theirs, how, bar=">= 20", reference=measured.median,
    )  # fmt: skip


def _flower(members: int, entries: int) -> Callable[[], None]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt, generate_shared_key
    from flwr.common.secure_aggregation.quantization import quantize
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

    keys = [ec.generate_private_key(ec.SECP384R1()) for _ in range(members)]
    values, threshold = [np.linspace(-1, 1, entries)], members * 2 // 3
    shape: list[tuple[int, ...]] = [(entries,)]

    def member(place: int) -> list[bytes]:
        pem = keys[place].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        seed_shares, key_shares = create_shares(os.urandom(32), threshold, members), create_shares(pem, threshold, members)
        others = [each.public_key() for other, each in enumerate(keys) if other != place]
        for key, seed_share, key_share in zip(others, seed_shares, key_shares, strict=False):
            shared = generate_shared_key(keys[place], key)
            decrypt(shared, encrypt(shared, seed_share + key_share))
        total: Any = quantize(values, 8.0, 1 << 22)[0].astype(np.int64)
        masks = [pseudo_rand_gen(generate_shared_key(keys[place], key), 1 << 32, shape)[0] for key in others]
        for mask in [*masks, pseudo_rand_gen(os.urandom(32), 1 << 32, shape)[0]]:
            total = (total + mask) % (1 << 32)
        return seed_shares

    def run() -> None:
        for place in range(SAMPLED):
            shares = member(place)
            pseudo_rand_gen(combine_shares(shares[:threshold]), 1 << 32, shape)  # the server's part of this member

    return run


def _gradients(is_quick: bool) -> list[Row]:
    """In a process of its own: how many threads a matrix product takes is fixed where NumPy is loaded, and a study's has one."""
    command = [sys.executable, "-W", "ignore", "-m", "simulations.bench.gradients", *(["--quick"] if is_quick else [])]
    told = subprocess.run(command, check=True, capture_output=True, env={**os.environ, **ONE_THREAD}).stdout
    return [Row.of_json(each) for each in json.loads(told)]
