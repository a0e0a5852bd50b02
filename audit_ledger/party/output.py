"""Standard output that fits what listens to it: a reader that went away, a full disk, a terminal that does not know every sign.

A program whose reader has gone (`| head -1`) ends with `CUT_SHORT`, silently. Typer and rich would end it with 1, which in every
verifying command says that there is evidence of tampering. A sign that the terminal's encoding does not have becomes a `?`.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from rich.console import RenderableType

CUT_SHORT = 3
"""Could not be told to its end, as what could not be checked."""


class _Heard(io.FileIO):
    """A descriptor that others own. Raises SystemExit where nobody takes what is written."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                sys.stderr.write(f"stdout: {error.strerror}\n")
            # What is still buffered is written once more at the very end, and has to go somewhere.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            raise SystemExit(CUT_SHORT) from None


@contextmanager
def steady_output() -> Iterator[None]:
    """Around all that a program says; a standard output that is no file stays as it is. An exit code that says more is kept."""
    usual = sys.stdout
    if not isinstance(usual, io.TextIOWrapper):
        yield
        return
    usual.flush()
    heard = io.BufferedWriter(_Heard(usual.fileno(), "wb", closefd=False))
    sys.stdout = io.TextIOWrapper(heard, usual.encoding, "replace", line_buffering=usual.line_buffering)
    try:
        yield
    except SystemExit as ended:
        with suppress(SystemExit) if ended.code else nullcontext():
            sys.stdout.flush()
        raise
    sys.stdout.flush()


def unabridged(shown: "RenderableType") -> "RenderableType":
    """The same, with tables that cut no cell off: a Chinese heading has no space to break at, half a number is another number."""
    from rich.console import Group
    from rich.table import Table

    for each in shown.renderables if isinstance(shown, Group) else (shown,):
        if isinstance(each, Group):
            unabridged(each)
        for column in each.columns if isinstance(each, Table) else ():
            column.overflow = "fold"
    return shown
