"""How a long-running program of Kapok behaves once it has started."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_S = 0.001
SELDOM = (20_000, 50, 100)
"""Thresholds of the collector of cycles, where many objects are made and hardly one cycle."""


def settle() -> None:
    """To be called when a service is ready.

    What was imported and replayed stays until the end, so the collector need not walk it again with every question; and a thread
    that computes hands over within a millisecond, so that a frame does not wait five behind a count.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SELDOM)
    sys.setswitchinterval(SWITCH_S)


@contextmanager
def collected_seldom() -> Iterator[None]:
    """For a long pass over many small objects."""
    usual = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
