"""A TCP door before the auditor's witness that can be shut: the point between an entry's append and its cosignature, held open.

The coordinator is given this address as its witness. Bytes pass unread; while `is_shut()` is true they wait. The witness itself and
the coordinator know nothing of it.
"""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PIECE = 64 << 10
LOOK_S = 0.005


@dataclass(slots=True)
class HeldWitness:
    """Listens on `port` and passes on to `target`, both on loopback."""

    port: int
    target: int
    is_shut: Callable[[], bool] = lambda: False
    waiting: threading.Event = field(default_factory=threading.Event)
    _listener: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept)

    def shut_when(self, is_shut: Callable[[], bool]) -> None:
        """From the next bytes on for which `is_shut` is true; `waiting` is set once some wait."""
        self.waiting.clear()
        self.is_shut = is_shut

    def open(self) -> None:
        self.is_shut = lambda: False

    def close(self) -> None:
        self.open()
        self._listener.close()

    def _start(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True, name="held-witness").start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()  # the witness is away: the coordinator sees a refused connection
                continue
            self._start(lambda near=near, far=far: self._pass(near, far, is_held=True))  # type: ignore[misc]
            self._start(lambda near=near, far=far: self._pass(far, near, is_held=False))  # type: ignore[misc]

    def _pass(self, source: socket.socket, sink: socket.socket, is_held: bool) -> None:
        try:
            while data := source.recv(PIECE):
                while is_held and self.is_shut():
                    self.waiting.set()
                    time.sleep(LOOK_S)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, sink):
                each.close()
