"""What patients' gradients cost beside plain SGD, which takes one gradient of the whole batch: in factors, by Opacus, one by one.

`simulations.bench.learning` runs it, in a process whose matrix products have one thread, as a study's.
"""

import json
import sys

import numpy as np
import torch
from opacus import GradSampleModule
from torch import nn

from hospital_node.fits.bounded import Bound, summed
from hospital_node.fits.clipped_sum import ClippedSum
from hospital_node.learning.torch_study import TorchStudy
from hospital_node.studies.parts import parts
from simulations.bench.rows import Row, load
from simulations.bench.turns import interleaved

PATIENTS, FEATURES = 256, 60


class Wide(TorchStudy):
    def model(self, features: int) -> nn.Module:
        return nn.Sequential(nn.Linear(features, 160), nn.Tanh(), nn.Linear(160, 1))


def rows(is_quick: bool) -> list[Row]:
    study, draw = Wide(), np.random.default_rng(1)
    weights, turns = study.prepare(FEATURES), 9 if is_quick else 31
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

    def in_factors() -> None:
        total = ClippedSum(bound)
        for part in parts(study, weights, features, outcome, np.arange(PATIENTS + 1)):
            total.add(part)
        total.whole()

    def a_patient_at_a_time() -> None:
        summed(np.stack([study.gradient(features[n : n + 1], outcome[n : n + 1]) for n in range(PATIENTS)]), bound)

    how = f"{PATIENTS} patients of one row, {weights:,} weights, processor time; median of {turns} turns; {load()}"
    sides = (
        ("gradients in factors (ghost clipping), clipped and whole, beside plain SGD", in_factors, step, "<= 6"),
        ("Opacus' gradient samples, clipped and whole, beside plain SGD", opacus, step, ""),
        ("gradients a patient at a time beside Opacus' samples", a_patient_at_a_time, opacus, ""),
    )
    found = []
    for name, ours, reference, bar in sides:
        measured = interleaved(ours, reference, turns)
        ratio, median, theirs = measured.ratio, measured.median, measured.median_reference
        found.append(Row.measured(name, "s", median, how, bar=bar, reference=theirs, ratio=ratio))
    return found


if __name__ == "__main__":
    print(json.dumps([each.to_json() for each in rows("--quick" in sys.argv)]))
