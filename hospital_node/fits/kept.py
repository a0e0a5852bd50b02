"""Rows of the questions that were asked last, each read once: by whoever asks first, while all others wait for that reading."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

from hospital_node.fits.rows import Rows
from protocols.statements import Query


class KeptRows:
    """At most `most` questions'; those of the one that was asked longest ago go. What could not be read is read again."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._kept: list[tuple[Query, Future[Rows]]] = []

    def of(self, question: Query, read: Callable[[], Rows]) -> Rows:
        """Raises what `read` raises."""
        with self._lock:
            found = next((rows for each, rows in self._kept if each == question), None)
            mine: Future[Rows] = found or Future()
            self._kept = [*((each, rows) for each, rows in self._kept if rows is not found), (question, mine)][-self._most :]
        if found is None:
            self._read(mine, read)
        return mine.result()

    def _read(self, rows: "Future[Rows]", read: Callable[[], Rows]) -> None:
        try:
            rows.set_result(read())
        except BaseException as error:  # noqa: BLE001 (whoever waits is told of it too, and this caller by the same result)
            with self._lock:
                self._kept = [each for each in self._kept if each[1] is not rows]
            rows.set_exception(error)
