"""What a training released: its weights, and how much of the last step was noise."""

import numpy as np

from coordinator.client.fits.result import Estimate, Result
from protocols.fits import Evaluated, Floats, Training
from protocols.fits.metrics import NORMAL_95, Measured, measured


def weights(spec: Training, released: Floats, sd: float) -> Result:
    """`noise_share` is the part of the last round's gradient that noise alone would make as long."""
    if isinstance(spec, Evaluated) and spec.is_evaluated:
        return _evaluated(spec, released, sd)
    trained, gradient = released[: spec.weights] / spec.units, released[spec.weights :][: spec.weights] / spec.scale
    noise, length = sd * np.sqrt(spec.weights), float(np.linalg.norm(gradient))
    share = min(1.0, float(noise / length)) if length else 1.0
    return Result(
        (),
        {"weights": float(spec.weights), "length": float(np.linalg.norm(trained)), "noise_share": share},
        model=tuple(map(float, trained)),
    )


def _evaluated(spec: Evaluated, released: Floats, sd: float) -> Result:
    """The last round was a test: metrics of the released weights on held-out patients, none where noise is all that was counted."""
    trained = released[: spec.weights] / spec.units
    without, having = spec.histogram(released[spec.weights :])
    found = measured(list(map(float, without)), list(map(float, having)), sd * spec.scale / spec.unit)
    counted = {"held_out": float(without.sum() + having.sum()), "with_outcome": float(having.sum())}
    return Result(
        tuple(_estimate(each) for each in found),
        {"weights": float(spec.weights), "length": float(np.linalg.norm(trained)), **counted},
        is_drowned=not found,
        model=tuple(map(float, trained)),
    )


def _estimate(told: Measured) -> Estimate:
    """Ends of an interval that were cut where a metric ends are told as they are."""
    return Estimate(told.name, float(told.value), (float(told.high) - float(told.low)) / (2 * NORMAL_95))
