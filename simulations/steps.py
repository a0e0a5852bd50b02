"""Steps of a long run as people follow them: each is a line, and below the last one stands how long it has taken and has to go.

Who tells a step tells it in English and in Chinese; the reader's language decides which of them is a line.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner

from audit_ledger.words import Words

SEEN_AFTER_S = 2.0


@dataclass(slots=True)
class Steps:
    """`steps(english, chinese)` begins one; `count` says how far it is. On no terminal only the lines are printed."""

    console: Console
    clock: Callable[[], float] = time.monotonic
    words: Words = field(default_factory=lambda: Words(False))
    _began: float = field(init=False)
    _done: tuple[int, int] = field(init=False, default=(0, 0))
    _live: Live = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._live = Live(get_renderable=self._spun, console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def __call__(self, english: str, chinese: str) -> None:
        self._began, self._done = self.clock(), (0, 0)
        self.console.print(f"[bold cyan]●[/] {self.words.say(english, chinese)}", highlight=False)

    def count(self, done: int, of: int) -> None:
        self._done = done, of

    def end(self) -> None:
        self._live.stop()

    def line(self) -> str:
        """What stands below a step that takes more than two seconds; else nothing."""
        elapsed, (done, of) = self.clock() - self._began, self._done
        if elapsed < SEEN_AFTER_S:
            return ""
        say, left = self.words.say, elapsed / done * (of - done) if 0 < done < of else 0
        counted = say(f"{done} of {of}, ", f"{done} / {of}，") if of else ""
        rest = say(f", about {left:.0f} s left", f"，约剩 {left:.0f} 秒") if left else ""
        return counted + say(f"{elapsed:.0f} s so far", f"已用 {elapsed:.0f} 秒") + rest

    def _spun(self) -> RenderableType:
        return Spinner("dots", text=self.line()) if self.line() else ""
