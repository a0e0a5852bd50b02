"""Time as the statements write it: whole UTC seconds, RFC 3339 with a Z. Clocks are passed in, never read here."""

import re
from datetime import UTC, datetime
from functools import lru_cache

from protocols.errors import MalformedBytes

_STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


def stamp(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(4096)
def unix(text: str) -> int:
    """Strict inverse of `stamp`, in seconds."""
    if _STAMP.fullmatch(text) is None:
        raise MalformedBytes("expected a time like 2026-11-23T08:00:00Z")
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError:
        raise MalformedBytes("no such time") from None


def month(unix_s: int) -> str:
    return stamp(unix_s)[:7]
