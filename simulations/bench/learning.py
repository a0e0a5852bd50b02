"""What trainings cost: sums of models beside their masks and beside Flower's SecAgg+, and a patient's gradient beside Opacus'.

Flower's side is its own functions (key agreement, Shamir shares, encryption, masks), in one process and without its network, for a
few of the members and counted for all: each does the same. Ours is everything that members, auditor and aggregator do.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hospital_node.fits.bounded import Bound, summed
from simulations.bench.rows import Row, load
from simulations.bench.secagg import found_round, masks_and_verifications
from simulations.bench.turns import interleaved, stepwise

LARGE, LARGE_ENTRIES = 64, 1_000_000
MEMBERS, ENTRIES = 32, 100_000
SAMPLED = 4
"""Members of Flower's side that are run."""
PATIENTS, FEATURES = 256, 60


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


def _gradients(is_quick: bool) -> Sequence[Row]:
    import torch
    from opacus import GradSampleModule
    from torch import nn

    from hospital_node.learning.torch_study import TorchStudy

    class Wide(TorchStudy):
        def model(self, features: int) -> nn.Module:
            return nn.Sequential(nn.Linear(features, 160), nn.Tanh(), nn.Linear(160, 1))

    study, draw = Wide(), np.random.default_rng(1)
    weights, turns = study.prepare(FEATURES), 3 if is_quick else 9
    features, outcome = draw.uniform(-1, 1, (PATIENTS, FEATURES)), (draw.uniform(size=PATIENTS) < 0.5).astype(float)
    study.begin(draw.normal(0, 0.1, weights))
    rows_, wanted = torch.from_numpy(features).float(), torch.from_numpy(outcome).float()
    plain, wrapped = study.model(FEATURES), GradSampleModule(study.model(FEATURES), loss_reduction="sum")
    bound = Bound(weights, 1.0, 4096)

    def step() -> None:
        plain.zero_grad()
        study.loss(plain(rows_), wanted).backward()  # type: ignore[no-untyped-call]

    def opacus() -> None:
        wrapped.zero_grad()
        study.loss(wrapped(rows_), wanted).backward()  # type: ignore[no-untyped-call]
        samples = torch.cat([each.grad_sample.flatten(1) for each in wrapped.parameters()], dim=1)
        summed(samples.numpy(), bound)

    def ours() -> None:
        summed(np.stack([study.gradient(features[n : n + 1], outcome[n : n + 1]) for n in range(PATIENTS)]), bound)

    how = f"{PATIENTS} patients of one row, {weights:,} weights, processor time; median of {turns} turns; {load()}"
    of_opacus, of_ours = interleaved(opacus, step, turns), interleaved(ours, opacus, turns)
    return [
        Row.measured(
            "Opacus' gradient samples, clipped and whole, beside plain SGD", "s", of_opacus.median, how,
            reference=of_opacus.median_reference, ratio=of_opacus.ratio,
        ),
        Row.measured(
            "gradients a patient at a time beside Opacus' samples", "s", of_ours.median, how, reference=of_ours.median_reference,
            ratio=of_ours.ratio,
        ),
    ]  # fmt: skip
