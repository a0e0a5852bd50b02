"""Numbers, base64 and lines with exactly one spelling each.

Everything hashed or signed here is text; two spellings of one value would let two parties agree on the value and differ
on the bytes. So: decode, encode again, compare. Python's own decoders are lax by default (`int("+8")`,
`b64decode("A=\\n=")`, `splitlines()` at U+2028).
"""

import base64
import binascii
import re

MAX_NUMBER = 2**63 - 1  # sizes and POSIX seconds (tlog-cosignature: a timestamp MUST NOT exceed it)

_DECIMAL = re.compile(rb"0|[1-9][0-9]{0,18}")


def decimal(raw: bytes) -> int:
    """The number `raw` spells without sign, space or leading zero. Raises ValueError."""
    if not _DECIMAL.fullmatch(raw) or int(raw) > MAX_NUMBER:
        raise ValueError(f"not a canonical decimal number: {raw[:24]!r}")
    return int(raw)


def unbase64(raw: bytes) -> bytes:
    """RFC 4648 §4 with padding and zero trailing bits, nothing else. Raises ValueError."""
    try:
        decoded = base64.b64decode(raw, validate=True)
    except binascii.Error as cause:
        raise ValueError(f"not base64: {raw[:24]!r}") from cause
    if base64.b64encode(decoded) != raw:
        raise ValueError(f"base64 is not canonical: {raw[:24]!r}")
    return decoded


def unbase64_hash(raw: bytes) -> bytes:
    """A base64 line that holds one SHA-256 hash. Raises ValueError."""
    decoded = unbase64(raw)
    if len(decoded) != 32:
        raise ValueError(f"hash has {len(decoded)} bytes, expected 32")
    return decoded


def base64_line(raw: bytes) -> bytes:
    """`raw` in base64 and a newline."""
    return base64.b64encode(raw) + b"\n"
