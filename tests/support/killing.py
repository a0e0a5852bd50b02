"""A process that is killed (SIGKILL) before any one of its changes of a folder."""

import os
import signal
import sys
from collections.abc import Callable


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Runs `act` in a process that is killed (SIGKILL) before its change number `step` of a folder; whether it was killed."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    changes = iter(range(1000))

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        is_write = event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if (event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir") or is_write) and next(changes) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    act()
    os._exit(0)
