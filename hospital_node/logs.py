"""The node's log: JSON lines with a fixed list of keys, so that no value of a record can slip in by a careless call.

A key that is not on the list is dropped, and its name (never its value) is listed under `dropped`.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

KEYS = frozenset(
    {"event", "level", "timestamp", "query", "round", "attempt", "code", "codes", "size", "entries", "generation", "month"}
    | {"error", "statement", "address"}
)


def only_known_keys(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    unknown = sorted(set(event) - KEYS)
    kept = {key: value for key, value in event.items() if key in KEYS}
    return {**kept, "dropped": unknown} if unknown else kept


def configure() -> None:
    """To standard error, from level info."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            only_known_keys,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


log: structlog.stdlib.BoundLogger = structlog.get_logger("kapok-node")
