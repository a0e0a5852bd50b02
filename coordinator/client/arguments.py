"""What people type, read into values: times, days, prices, lists, the trust file. Raises BadUsage with the place."""

import re
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

from audit_ledger.errors import MalformedPolicy
from audit_ledger.policy import TrustFile
from coordinator.client.city import DAY_S
from coordinator.client.errors import BadUsage
from protocols.clock import stamp, unix
from protocols.contract import CONTRACT
from protocols.errors import MalformedBytes

_SPANS = {"m": 60, "h": 3_600, "d": DAY_S}


def trust_bytes(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        TrustFile.parse(raw)
    except (OSError, MalformedPolicy) as error:
        raise BadUsage("error.trust", path=path, why=getattr(error, "strerror", None) or error) from None
    return raw


def names_of(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def seconds_of(text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", text)
    seconds = int(found[1]) * _SPANS[found[2]] if found else 0
    if not 0 < seconds <= CONTRACT.valid_days * DAY_S:
        raise BadUsage("error.valid")
    return seconds


def price_text(text: str) -> str:
    try:
        price = Decimal(text)
        if not (price.is_finite() and 0 < price < 1_000) or price != round(price, 9):
            raise InvalidOperation
    except InvalidOperation:
        raise BadUsage("error.max_price") from None
    return f"{price:.9f}"


def day_of(text: str) -> str:
    """A day, or a time as statements write it."""
    try:
        return stamp(unix(text)) if "T" in text else f"{date.fromisoformat(text).isoformat()}T00:00:00Z"
    except (ValueError, MalformedBytes):
        raise BadUsage("error.until") from None
