"""One side of a comparison, in its own process: a line comes in, one turn is done, a line of figures goes out.

Imports nothing but the standard library, since it runs in the environments of the peers too.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path


def serve(turn: Callable[[], int]) -> None:
    """Does `turn` once for every line of standard input; it returns how many cells it answered."""
    _tell(ready=True)
    for _ in sys.stdin:
        wall, processor = time.perf_counter(), _processor_seconds()
        cells = turn()
        _tell(wall_s=time.perf_counter() - wall, processor_s=_processor_seconds() - processor, peak_mb=_peak_mb(), cells=cells)


def _tell(**figures: float) -> None:
    print(json.dumps(figures), flush=True)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_mb() -> float:
    # The kernel's own high-water mark; that of getrusage starts at the size of the process that started this one.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
