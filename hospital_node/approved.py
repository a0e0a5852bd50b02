"""Files of what this hospital's IT has approved: a hash a line, and behind it, as a comment that nothing trusts, whose it is."""

import re
from collections.abc import Iterable
from pathlib import Path

from hospital_node.errors import InvalidConfig

_HASH = re.compile(r"[0-9a-f]{64}")


def read_approved(path: Path, what: str) -> frozenset[str]:
    """The hashes; no file approves nothing. Raises InvalidConfig with the line, where `what` was expected."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return frozenset()
    except UnicodeDecodeError:
        raise InvalidConfig(f"{path}: expected text in UTF-8") from None
    words = [(number, line.split("#")[0].strip()) for number, line in enumerate(lines, start=1)]
    for number, word in words:
        if word and _HASH.fullmatch(word) is None:
            raise InvalidConfig(f"{path}: line {number}: expected {what} of 64 hex digits")
    return frozenset(word for _, word in words if word)


def approved_text(head: str, hashes: Iterable[tuple[str, str]]) -> str:
    """The file, from (hash, whose) pairs."""
    return f"# {head}\n" + "".join(f"{each}  # {whose}\n" for each, whose in sorted(hashes))
