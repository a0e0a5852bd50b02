"""A round's gradients go through the pipe some at a time: each (patient, block) once, in order, whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from hospital_node.errors import GradientError
from hospital_node.factors import Factors
from hospital_node.studies import parts
from hospital_node.studies.study import Logistic


@pytest.mark.parametrize("is_factored", [True, False])
@given(lengths=some.lists(some.integers(1, 9), max_size=40), width=some.integers(1, 50))
def test_every_block_is_in_one_part_whole_and_in_order(is_factored: bool, lengths: list[int], width: int) -> None:
    ends = np.cumsum([0, *lengths])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "AT_ONCE", 60)
        spans = list(parts._spans(ends, width if is_factored else 0, width))
    assert [block for first, last in spans for block in range(first, last)] == list(range(len(lengths)))
    for first, last in spans:
        numbers = width * (ends[last] - ends[first] if is_factored else last - first)
        assert numbers <= 60 or last == first + 1, "one that is larger goes alone"


def test_what_is_told_is_heard() -> None:
    study = Logistic()
    study.begin(np.array([0.5, -1.0, 2.0]))
    draw, ends = np.random.default_rng(1), np.array([0, 2, 3, 7])
    [part] = parts.parts(study, 3, draw.uniform(-1, 1, (7, 2)), np.ones(7), ends)
    head, bodies = parts.told(part)
    found = _heard(head, b"".join(bodies), ends)
    assert isinstance(part, Factors)
    assert isinstance(found, Factors)
    assert np.array_equal(found.ends, ends)
    for mine, its in zip(part.layers, found.layers, strict=True):
        assert np.array_equal(mine.inputs, its.inputs)
        assert np.array_equal(mine.signals, its.signals)
        assert mine.has_bias is its.has_bias


def _heard(head: dict[str, object], raw: bytes, ends: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> object:
    held = bytearray(raw)

    def following(size: int) -> bytearray:
        found = held[:size]
        del held[:size]
        assert len(found) == size, "the node asks for more than there is"
        return found

    return parts.heard(head, following, ends, 3)


GOOD: dict[str, object] = {"blocks": 1, "rows": [1], "layers": [[2, 1, True]]}
LAYERS = [
    None, [], {}, "x", [[]], [[2, 1]], [[2, 1, 1]], [[2.0, 1, True]], [[-3, -1, False]], [[0, 3, True]], [[True, 3, False]],
    [[1, 3, True]], [[3, 1, True]], [[1, 1, False]] * 65,
]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        *({"layers": each} for each in LAYERS),
        {"rows": [2]},
        {"rows": 1},
        {"rows": []},
        {"blocks": 0},
        {"blocks": 4},
        {"blocks": "1"},
    ],
    ids=str,
)
def test_a_frame_of_another_form_is_an_error_and_no_byte_of_it_is_waited_for(change: dict[str, object]) -> None:
    ends = np.arange(4)
    assert isinstance(_heard(GOOD, bytes(24), ends), Factors)
    with pytest.raises(GradientError, match="expected"):
        _heard({**GOOD, **change}, b"", ends)
