"""What comes out of a study's process, read with patience: lines and stretches of bytes, and nothing beyond what was asked for."""

import os
import select

from hospital_node.errors import StudyFailed

PATIENCE_S = 120.0
LONGEST_LINE = 1 << 16
_SOME = 1 << 16


class Answers:
    """The reading end of its pipe. Raises StudyFailed for one that has ended, or says nothing for `patience_s`."""

    def __init__(self, pipe: int, patience_s: float = PATIENCE_S) -> None:
        self._pipe, self._patience_ms, self._held = pipe, 1000 * patience_s, b""
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)

    def line(self) -> bytes:
        while (end := self._held.find(b"\n") + 1) == 0:
            if len(self._held) > LONGEST_LINE:
                raise StudyFailed("study: expected a frame, got something else")
            self._await()
            self._held += self._some(os.read(self._pipe, _SOME))
        found, self._held = self._held[:end], self._held[end:]
        return found

    def exactly(self, size: int) -> bytearray:
        found = bytearray(size)
        done = min(size, len(self._held))
        found[:done], self._held = self._held[:done], self._held[done:]
        with memoryview(found) as view:
            while done < size:
                self._await()
                read = os.readv(self._pipe, [view[done:]])
                if not read:
                    raise StudyFailed("study: its process ended within an answer")
                done += read
        return found

    def _await(self) -> None:
        if not self._poll.poll(self._patience_ms):
            raise StudyFailed("study: its process says nothing")

    @staticmethod
    def _some(raw: bytes) -> bytes:
        if not raw:
            raise StudyFailed("study: its process has ended")
        return raw
