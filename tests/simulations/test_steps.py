"""What a person sees below a step: nothing at first, then its time so far, and what is left where parts are counted."""

import io
from typing import cast

from rich.console import Console

from simulations.steps import Steps


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_step_says_its_time_after_two_seconds_and_the_rest_where_it_counts() -> None:
    clock = Clock()
    steps = Steps(Console(file=io.StringIO()), clock)
    steps("hospitals load")
    clock.now += 1.9
    assert steps.line() == ""
    clock.now += 10.1
    assert steps.line() == "12 s so far"
    steps.count(2, 6)
    assert steps.line() == "2 of 6, 12 s so far, about 24 s left"
    steps("the next")
    assert steps.line() == "", "a new step begins anew"


def test_on_no_terminal_the_lines_alone_are_printed() -> None:
    console = Console(file=io.StringIO())
    with Steps(console, Clock()) as steps:
        steps("one")
        steps.count(1, 2)
        steps("two")
    assert cast("io.StringIO", console.file).getvalue() == "● one\n● two\n"
