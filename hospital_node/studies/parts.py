"""A round's gradients, some at a time, as they go through a study's pipe: written out, or as the factors they are products of.

A frame is a JSON line and raw bytes; `told` and `heard` are its two ends. Who hears takes it for what it is, numbers of unknown
worth in a form that the question fixes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hospital_node.errors import GradientError
from hospital_node.factors import Factors, Layer, Part
from hospital_node.studies.study import Ends, Floats, Study

AT_ONCE = 1 << 17
"""Numbers in one frame: while the node clips them, the next are computed."""
MOST_LAYERS = 64
Bytes = Callable[[int], bytearray]
"""The next so many bytes of the pipe."""


def parts(study: Study, weights: int, features: Floats, outcome: Floats, ends: Ends) -> Iterator[Part]:
    """All (patient, block)s in their order; the study has begun a round."""
    for first, last in _spans(ends, study.numbers_a_row, weights):
        of = ends[first : last + 1]
        if not study.numbers_a_row:
            yield np.asarray(study.gradients(features, outcome, of))
            continue
        rows = slice(int(of[0]), int(of[-1]))
        yield Factors(study.factors(features[rows], outcome[rows]), of - of[0])


def _spans(ends: Ends, numbers_a_row: int, weights: int) -> Iterator[tuple[int, int]]:
    """Whole (patient, block)s of about `AT_ONCE` numbers: gradients are as many each, factors as many a row."""
    first, blocks = 0, len(ends) - 1
    while first < blocks:
        if numbers_a_row:
            rows = int(ends[first]) + max(1, AT_ONCE // numbers_a_row)
            last = max(first + 1, int(np.searchsorted(ends, rows, "right")) - 1)
        else:
            last = min(blocks, first + max(1, AT_ONCE // weights))
        yield first, last
        first = last


def told(part: Part) -> tuple[dict[str, Any], list[bytes]]:
    if not isinstance(part, Factors):
        head = {"blocks": len(part), "shape": list(part.shape[1:]), "dtype": part.dtype.str}
        return head, [np.ascontiguousarray(part).tobytes()]
    layers = [[each.inputs.shape[1], each.signals.shape[1], each.has_bias] for each in part.layers]
    bodies = [np.ascontiguousarray(each, "<f8").tobytes() for layer in part.layers for each in (layer.inputs, layer.signals)]
    rows = sorted({len(each) for layer in part.layers for each in (layer.inputs, layer.signals)})
    return {"blocks": len(part.ends) - 1, "rows": rows, "layers": layers}, bodies


def heard(head: dict[str, object], following: Bytes, ends: Ends, width: int) -> Part:
    """The next part; `ends` are those of the (patient, block)s that are still to come. Raises GradientError."""
    blocks = head.get("blocks")
    if "layers" not in head and (head.get("dtype") not in ("<f4", "<f8") or head.get("shape") != [width]):
        raise GradientError(f"gradients: expected rows of {width} numbers of 4 or 8 bytes, got another shape or type")
    if not isinstance(blocks, int) or not 0 < blocks < len(ends):
        raise GradientError(f"gradients: expected {len(ends) - 1} rows, got another number")
    if "layers" in head:
        of = ends[: blocks + 1] - ends[0]
        if head.get("rows") != [of[-1]]:
            raise GradientError(f"gradients: expected factors of {of[-1]} rows, got another number")
        return _factors(_layers(head["layers"], width), following, of)
    dtype = str(head["dtype"])
    return np.frombuffer(following(blocks * width * int(dtype[-1])), dtype).reshape(blocks, width)


def _layers(stated: object, width: int) -> list[tuple[int, int, bool]]:
    fault = GradientError(f"gradients: expected factors of {width} weights, got another shape or type")
    if not isinstance(stated, list) or not 0 < len(stated) <= MOST_LAYERS:
        raise fault
    for each in stated:
        if not isinstance(each, list) or [type(of) for of in each] != [int, int, bool] or min(each[:2]) < 1:
            raise fault
    if sum(outputs * (inputs + has_bias) for inputs, outputs, has_bias in stated) != width:
        raise fault
    return [(inputs, outputs, has_bias) for inputs, outputs, has_bias in stated]


def _factors(layers: list[tuple[int, int, bool]], following: Bytes, ends: Ends) -> Factors:
    rows = int(ends[-1])

    def values(columns: int) -> Floats:
        return np.frombuffer(following(8 * rows * columns), "<f8").reshape(rows, columns)

    return Factors([Layer(values(inputs), values(outputs), has_bias) for inputs, outputs, has_bias in layers], ends)
