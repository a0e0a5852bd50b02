"""An HTTP application served on an event loop that belongs to somebody else: no signal handlers, an orderly end."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from audit_ledger.party.home import HomeError

GRACE_S = 5


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are this process's, not uvicorn's


class Web:
    """Bound on construction, so that a port in use is said before anything else starts."""

    def __init__(self, app: ASGIApp, listen: str) -> None:
        self._listener = listening(listen)
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", ws="none")
        config.timeout_graceful_shutdown = GRACE_S
        config.proxy_headers = config.server_header = config.date_header = False  # nobody reads them, and each costs an append
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        return "{}:{}".format(*self._listener.getsockname()[:2])

    async def start(self) -> "asyncio.Task[None]":
        """Returns when requests are answered, with the task that ends when they are no more."""
        self._task = asyncio.create_task(self._server.serve([self._listener]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.01)
        return self._task

    async def stop(self) -> None:
        """No new requests; running ones are finished within the grace."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        self._listener.close()


def listening(address: str) -> socket.socket:
    """A socket at `host:port`; what it accepts sends at once. Raises HomeError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise HomeError(f"{address}: expected host:port, like 127.0.0.1:7446")
    try:
        listener = socket.create_server((host, int(port)))
    except OSError as error:
        raise HomeError(f"{address}: cannot listen there: {error.strerror}") from None
    # What it accepts inherits this. asyncio does so only for sockets it made itself; without it, an answer's body waits behind its
    # head for the other side's acknowledgement, which that side puts off by 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
