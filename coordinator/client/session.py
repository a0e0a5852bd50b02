"""One run of the program: the reader's language, where output goes, and the live line while a question runs.

Results go to stdout; progress and errors to stderr, so that `--json` and pipes stay clean.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner

from audit_ledger.party.output import unabridged
from coordinator.client.texts import Say

if TYPE_CHECKING:
    from coordinator.client.city import City
    from coordinator.client.desk import Step


ESTIMATED_AFTER_S = 2.0


@dataclass(slots=True)
class Session:
    """`connect` opens a home's city: real in the program, over a recorded desk in the tests."""

    say: Say
    connect: Callable[[Path], City]
    out: Console = field(default_factory=lambda: Console(file=sys.stdout, highlight=False, soft_wrap=False))
    err: Console = field(default_factory=lambda: Console(file=sys.stderr, highlight=False))

    def show(self, what: RenderableType) -> None:
        # A sentence is not broken into lines: what stands in it is copied (ids, paths, commands).
        self.out.print(what, markup=False, soft_wrap=True) if isinstance(what, str) else self.out.print(unabridged(what))

    def show_json(self, value: Any) -> None:
        self.out.file.write(json.dumps(value, ensure_ascii=False) + "\n")

    def note(self, text_id: str, **values: object) -> None:
        self.err.print(self.say(text_id, **values), markup=False, soft_wrap=True)


@dataclass(slots=True)
class Waiting:
    """The live line: state, k of n, time so far and an estimate of the rest. Plain lines where stderr is no terminal."""

    session: Session
    is_quiet: bool
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _running_since: float | None = field(init=False, default=None)
    _step: Step | None = field(init=False, default=None)
    _live: Live | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def __enter__(self) -> Self:
        if self.session.err.is_terminal and not self.is_quiet:
            self._live = Live(get_renderable=self._spun, console=self.session.err, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def watch(self, step: Step) -> None:
        from coordinator.client.desk import State

        is_news = self._step is None or self._step.state is not step.state
        if step.state is State.RUNNING and self._running_since is None:
            self._running_since = self.clock()
        self._step = step
        if is_news and not self._live and not self.is_quiet:
            self.session.err.print(self.line(), markup=False)

    def line(self) -> str:
        say, step = self.session.say, self._step
        elapsed = _span(self.clock() - self._began, say)
        if step is None:
            return say("progress.plain", state=say("state.submitted"), elapsed=elapsed)
        if not step.of:
            return say("progress.plain", state=say(f"state.{step.state}"), elapsed=elapsed)
        text = say("progress.line", state=say(f"state.{step.state}"), ready=step.ready, of=step.of, elapsed=elapsed)
        return text + self._estimate(step)

    def _estimate(self, step: Step) -> str:
        if self._running_since is None or not 0 < step.ready < step.of:
            return ""
        took = self.clock() - self._running_since
        if took < ESTIMATED_AFTER_S:
            return ""  # hospitals are ready at once; what follows takes longer, and nothing can be told of it yet
        rest = took / step.ready * (step.of - step.ready)
        return self.session.say("progress.eta", eta=_span(rest, self.session.say))

    def _spun(self) -> RenderableType:
        return Spinner("dots", text=self.line())


def _span(seconds: float, say: Say) -> str:
    if seconds < 60:
        return say("progress.seconds", seconds=f"{seconds:.1f}")
    return say("progress.minutes", minutes=int(seconds) // 60, seconds=int(seconds) % 60)
