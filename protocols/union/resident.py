"""The resident identity number (GB 11643-1999) in one spelling, and the tag by which hospitals know the same person.

Rules
- 18 characters: six digits of a division, a date of birth, three of a sequence, a check character (ISO 7064, MOD 11-2).
- Full-width digits, spaces, hyphens and a small x are read as what is meant; the 15 digits of before 1999 are completed. Anything
  else is no number: a person without one is counted by each hospital for itself.
- The tag is a keyed hash. Its key is shared by the hospitals of the city and nobody else; without it no list of numbers, however
  complete, tells whose tag it is. An error never repeats what was given.
"""

import hmac
import unicodedata
from dataclasses import dataclass
from datetime import date

from protocols.errors import ProtocolError

TAG_BYTES = 16
SHORTEST_KEY = 32
_WEIGHTS = tuple(pow(2, 17 - n, 11) for n in range(17))
_CHECKS = "10X98765432"
_IGNORED = str.maketrans("", "", " -\t\u3000")


class MalformedResidentNumber(ProtocolError):
    """What was given is no resident identity number."""

    code = "union.resident_number"


def normal_form(text: str) -> str:
    """The 18 characters. Raises MalformedResidentNumber."""
    plain = unicodedata.normalize("NFKC", text).translate(_IGNORED).upper()
    if len(plain) == 15 and _is_digits(plain):
        plain = f"{plain[:6]}19{plain[6:]}"
        plain += check_character(plain)
    if len(plain) != 18 or not _is_digits(plain[:17]):
        raise MalformedResidentNumber("expected 18 characters, the first 17 of them digits")
    if not _is_date(plain[6:14]):
        raise MalformedResidentNumber("the date of birth in it is no date")
    if plain[17] != check_character(plain):
        raise MalformedResidentNumber("its check character does not fit")
    return plain


def check_character(number: str) -> str:
    """Of the first 17 digits."""
    return _CHECKS[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number, strict=False)) % 11]


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_date(text: str) -> bool:
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class ResidentKey:
    """The hospitals' common key."""

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) < SHORTEST_KEY:
            raise ValueError(f"resident key has {len(self.secret)} bytes, it needs at least {SHORTEST_KEY}")

    def tag(self, number: str) -> bytes:
        """Of a number in any spelling. Raises MalformedResidentNumber."""
        return hmac.digest(self.secret, b"kapok/v1/resident\0" + normal_form(number).encode(), "sha256")[:TAG_BYTES]
