"""From the words of an address to the adcode of a district of Guangzhou, or to nothing.

Rules, first match wins
1. `district` holds six digits with a province's first two: that adcode (another city's stays itself: it is "elsewhere").
2. `district` holds the Chinese or English name of one of the eleven districts, with or without 广东省广州市, 区, "District".
3. The postal code stands in the map file the hospital gave (`postal code,adcode` a line).
Anything else is NULL: a street is never parsed.
"""

import csv
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from hospital_node.records.errors import InvalidMapping

_NAMES = {
    "440103": ("荔湾", "liwan"),
    "440104": ("越秀", "yuexiu"),
    "440105": ("海珠", "haizhu"),
    "440106": ("天河", "tianhe"),
    "440111": ("白云", "baiyun"),
    "440112": ("黄埔", "huangpu"),
    "440113": ("番禺", "panyu"),
    "440114": ("花都", "huadu"),
    "440115": ("南沙", "nansha"),
    "440117": ("从化", "conghua"),
    "440118": ("增城", "zengcheng"),
}
GUANGZHOU = tuple(_NAMES)
_BY_NAME = {name: adcode for adcode, names in _NAMES.items() for name in names}
# GB/T 2260: the first two digits of every province-level division.
_PROVINCES = frozenset(
    str(code) for code in (*range(11, 16), 21, 22, 23, *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82)
)
_AROUND = re.compile(r"^(广东省|guangdong)?[\s,]*(广州市|广州|guangzhou( city)?)?[\s,]*|[\s,]*(区|市|district|qu)?$")


def adcode(district: str | None, postal_code: str | None = None, by_postal_code: Mapping[str, str] | None = None) -> str | None:
    """The adcode that an address's own fields name by the rules above, else None."""
    found = _from_text(district) if district else None
    if found is None and postal_code and by_postal_code:
        found = by_postal_code.get(postal_code.strip())
    return found


def _from_text(district: str) -> str | None:
    text = unicodedata.normalize("NFKC", district).strip().casefold()
    if is_adcode(text):
        return text
    return _BY_NAME.get(_AROUND.sub("", text))


def is_adcode(text: str) -> bool:
    return len(text) == 6 and text.isascii() and text.isdigit() and text[:2] in _PROVINCES


def read_postal_codes(path: Path) -> dict[str, str]:
    """The hospital's own `postal code,adcode` file.

    Raises:
        InvalidMapping: the file cannot be read or a line is not of that form.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as cause:
        raise InvalidMapping(f"{path}: cannot be read as UTF-8 CSV") from cause
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or not is_adcode(row[1].strip()):
            raise InvalidMapping(f"{path}:{number}: expected a postal code and a 6-digit adcode")
    return {code.strip(): district.strip() for code, district in rows}
