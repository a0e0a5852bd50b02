"""What a person sees below a step: nothing at first, then its time so far, and what is left where parts are counted."""

import io
from typing import cast

from rich.console import Console

from audit_ledger.words import Words
from simulations.steps import Steps


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_step_says_its_time_after_two_seconds_and_the_rest_where_it_counts() -> None:
    clock = Clock()
    steps = Steps(Console(file=io.StringIO()), clock)
    steps("hospitals load", "载入病历")
    clock.now += 1.9
    assert steps.line() == ""
    clock.now += 10.1
    assert steps.line() == "12 s so far"
    steps.count(2, 6)
    assert steps.line() == "2 of 6, 12 s so far, about 24 s left"
    steps("the next", "下一步")
    assert steps.line() == "", "a new step begins anew"


def test_on_no_terminal_the_lines_alone_are_printed() -> None:
    console = Console(file=io.StringIO())
    with Steps(console, Clock()) as steps:
        steps("one", "一")
        steps.count(1, 2)
        steps("two", "二")
    assert cast("io.StringIO", console.file).getvalue() == "● one\n● two\n"


def test_a_chinese_reader_is_told_steps_and_times_in_chinese() -> None:
    clock, console = Clock(), Console(file=io.StringIO())
    steps = Steps(console, clock, Words(is_chinese=True))
    steps("hospitals load", "载入病历")
    clock.now += 12
    steps.count(2, 6)
    assert cast("io.StringIO", console.file).getvalue() == "● 载入病历\n"
    assert steps.line() == "2 / 6，已用 12 秒，约剩 24 秒"
