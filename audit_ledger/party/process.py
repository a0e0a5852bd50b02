"""How a long-running program of Kapok behaves once it has started."""

import gc
import sys

SWITCH_S = 0.001
YOUNG_OBJECTS = 20_000


def settle() -> None:
    """To be called when a service is ready.

    What was imported and replayed stays until the end, so the collector need not walk it again with every question; and a thread
    that computes hands over within a millisecond, so that a frame does not wait five behind a count.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 50, 100)
    sys.setswitchinterval(SWITCH_S)
