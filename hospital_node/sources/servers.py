"""What every server can be asked, and how a driver's exception becomes one of ours without its text."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from importlib import import_module
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import pyarrow as pa

from hospital_node.sources.errors import MissingDriver, SlowSource, SourceError, SourceFailed, Unreachable
from hospital_node.sources.mapping import Database
from hospital_node.sources.statements import Statement


class Holds(StrEnum):
    """What a column holds, as far as dates go."""

    DATE = "date"
    MOMENT = "moment"
    OTHER = "other"


class Server(Protocol):
    """An open session: read-only, in the hospital's zone, each statement cut off at its time."""

    def rows(self, statement: Statement) -> pa.Table:
        """The answer. Raises SlowSource or SourceFailed."""
        ...

    def columns(self, relation: Sequence[str]) -> dict[str, Holds]:
        """The columns of a table or view that this login can read; empty if there is none."""
        ...

    def rights(self) -> list[str]:
        """What this login may do beyond reading."""
        ...

    def now(self) -> datetime:
        """The session's wall clock, without a zone."""
        ...

    def close(self) -> None: ...


Open = Callable[[Database, str, ZoneInfo, int], Server]


def open_server(database: Database, password: str, zone: ZoneInfo, timeout_s: int | None = None) -> Server:
    """A new session. Raises MissingDriver, Unreachable or SourceFailed."""
    module = import_module(f"hospital_node.sources.{database.engine}")
    opening: Open = module.open_session
    return opening(database, password, zone, timeout_s or database.timeout_s)


def driver(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise MissingDriver(f"{name}: not installed; pip install 'kapok[{extra}]'") from None


@contextmanager
def translated(was_slow: Callable[[Exception], bool], *, is_opening: bool = False) -> Iterator[None]:
    """The text of a driver's exception may quote a record: its kind is all that passes."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # noqa: BLE001
        kind = type(error).__name__
        if was_slow(error):
            raise SlowSource("the server cut a statement off at its time") from None
        if is_opening:
            raise Unreachable(f"the server does not let this login in ({kind})") from None
        raise SourceFailed(f"the server refused a statement ({kind})") from None
