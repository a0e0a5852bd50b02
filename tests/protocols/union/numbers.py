"""Resident identity numbers that nobody has: a division that does not exist, and a check character that fits."""

from protocols.union.resident import check_character

NOWHERE = "999999"


def number(person: int) -> str:
    """The same for the same person; up to ten million persons."""
    year, rest = divmod(person, 365_000)
    day, sequence = divmod(rest, 1000)
    month, of_month = divmod(day, 28)
    plain = f"{NOWHERE}{1950 + year:04d}{month % 12 + 1:02d}{of_month + 1:02d}{sequence:03d}"
    return plain + check_character(plain)
