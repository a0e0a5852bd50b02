"""What a training released: its weights, and how much of the last step was noise."""

import numpy as np

from coordinator.client.fits.result import Result
from protocols.fits import Floats, Training


def weights(spec: Training, released: Floats, sd: float) -> Result:
    """`noise_share` is the part of the last round's gradient that noise alone would make as long."""
    trained, gradient = released[: spec.weights] / spec.units, released[spec.weights :][: spec.weights] / spec.scale
    noise, length = sd * np.sqrt(spec.weights), float(np.linalg.norm(gradient))
    share = min(1.0, float(noise / length)) if length else 1.0
    return Result(
        (),
        {"weights": float(spec.weights), "length": float(np.linalg.norm(trained)), "noise_share": share},
        model=tuple(map(float, trained)),
    )
