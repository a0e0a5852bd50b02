"""One spelling for every fact: RFC 8785 JSON, strict base64, length-prefixed tuples.

Whatever is hashed or signed in Kapok passes through here. Encoders are injective; decoders accept exactly what the encoder
writes and nothing else, so that two byte strings never mean one fact (RFC 8785; RFC 4648 section 3.5 and 4).
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import orjson
import rfc8785

from protocols.errors import MalformedBytes

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1
MAX_DIGITS = 40


def encode_json(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value. Raises MalformedBytes for floats, numbers beyond 2^53 - 1 and deep nesting."""
    require_plain(value)
    try:
        raw = orjson.dumps(value, option=_QUICK)
        return raw if _has_one_order(raw) else rfc8785.dumps(value)
    except (orjson.JSONEncodeError, rfc8785.CanonicalizationError) as error:
        raise MalformedBytes(f"no canonical JSON: {type(error).__name__}") from None


def decode_json(raw: bytes) -> Any:
    """The JSON value, if `raw` is its RFC 8785 spelling; raises MalformedBytes for anything else."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedBytes(f"not canonical JSON: {type(error).__name__}") from None
    if encode_json(value) != raw:
        raise MalformedBytes("not canonical JSON: another spelling of the same value")
    return value


def is_plainly_canonical(raw: bytes) -> bool:
    """Whether these bytes are RFC 8785, if they hold no float and no large number: that the reader knows. False decides nothing."""
    try:
        return _has_one_order(raw) and orjson.dumps(orjson.loads(raw), option=_QUICK) == raw
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return False


# orjson writes what RFC 8785 does, but for two things: a float as its own shortest form, and keys sorted by code point instead of
# UTF-16 unit. The two orders differ only where a character lies outside the basic plane (a byte of 0xF0 or above begins one).
_QUICK = orjson.OPT_SORT_KEYS


def _has_one_order(raw: bytes) -> bool:
    return raw.isascii() or max(raw) < 0xF0


def require_plain(value: Any, depth: int = 0) -> None:
    """Raises MalformedBytes unless `value` is what a statement may hold: no float, no number beyond 2^53 - 1, no deep nesting."""
    if depth > MAX_DEPTH:
        raise MalformedBytes("a statement holds no deep nesting")
    if value is None or isinstance(value, str):
        return
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise MalformedBytes("a statement holds no number beyond 2^53 - 1: not every reader can tell it from its neighbours")
    elif isinstance(value, dict):
        for each in value.values():
            require_plain(each, depth + 1)
    elif isinstance(value, (list, tuple)):
        for each in value:
            require_plain(each, depth + 1)
    else:
        raise MalformedBytes(f"a statement holds no {type(value).__name__}")


def b64(raw: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(raw).decode("ascii")


def unb64(text: str, length: int | None = None) -> bytes:
    """Strict inverse of `b64`: no other alphabet, no missing padding, no non-zero trailing bits; `length` in bytes if known."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII
        raise MalformedBytes("not base64") from None
    if binascii.b2a_base64(raw, newline=False) != text.encode("ascii"):
        raise MalformedBytes("not canonical base64")
    if length is not None and len(raw) != length:
        raise MalformedBytes(f"expected {length} bytes in base64, got {len(raw)}")
    return raw


def framed(*parts: bytes) -> bytes:
    """Length-prefixed concatenation (8-byte big-endian lengths, number of parts first): injective on tuples of byte strings."""
    return len(parts).to_bytes(8, "big") + b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def unframed(raw: bytes) -> tuple[bytes, ...]:
    """Strict inverse of `framed`."""
    parts, end = list[bytes](), 8
    for _ in range(int.from_bytes(raw[:8], "big")):
        start = end + 8
        end = start + int.from_bytes(raw[end:start], "big")
        parts.append(raw[start:end])
        if end > len(raw):
            break
    if end > len(raw):
        raise MalformedBytes("cut short")
    if end < len(raw):
        raise MalformedBytes(f"{len(raw) - end} bytes after the last part")
    return tuple(parts)


def number(value: int) -> bytes:
    """A non-negative integer as its shortest decimal, for use inside `framed`."""
    if value < 0:
        raise ValueError(f"expected a non-negative integer, got {value}")
    return str(value).encode("ascii")


def unnumber(raw: bytes) -> int:
    """Strict inverse of `number`."""
    # Bounded first: `int` raises a ValueError of its own on thousands of digits.
    if len(raw) > MAX_DIGITS or not raw.isdigit() or (raw[:1] == b"0" and raw != b"0"):
        raise MalformedBytes(f"not a shortest decimal of at most {MAX_DIGITS} digits")
    return int(raw)


def numbers(values: Iterable[int]) -> bytes:
    return framed(*(number(value) for value in values))
