"""Something has happened that somebody may wait for: no lock, no task and no message of its own.

Whoever waits has looked before at what it waits for, and looks again after it was woken; between the look and `first_of` nothing
else runs on the event loop, so no news is missed.
"""

import asyncio


class News:
    """One kind of news, on one event loop."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        """Wakes everybody who waits now."""
        waiting, self._waiting = self._waiting, set()
        for each in waiting:
            _wake(each)

    def add(self, waiting: "asyncio.Future[None]") -> None:
        self._waiting.add(waiting)

    def discard(self, waiting: "asyncio.Future[None]") -> None:
        self._waiting.discard(waiting)


async def first_of(timeout_s: float | None, *news: News) -> None:
    """Returns at the first of these, or after the timeout; None waits for ever."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[None] = loop.create_future()
    timer = None if timeout_s is None else loop.call_later(max(0.0, timeout_s), _wake, waiting)
    for each in news:
        each.add(waiting)
    try:
        await waiting
    finally:
        if timer is not None:
            timer.cancel()
        for each in news:
            each.discard(waiting)


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
