"""A year of standing questions against the limit of every block, from public facts alone.

A plan is a TOML file; each question is SQL or the name of a file, with the period of its first run. Every run moves the period
on by a day, a week or a month, so that runs with a window overlap: a block pays for each run that reads it.

    [[standing]]
    title = "ILI"
    question = "ili.sql"
    every = "week"
    sd = 20                 # or price, or epsilon
    purpose = "surveillance"
"""

import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from coordinator.client.errors import BadUsage
from coordinator.client.forecast import Forecast, Noise, forecast
from coordinator.client.question import MAX_FILE_BYTES, read_question
from protocols.contract import CONTRACT, PURPOSES
from protocols.query import Layout, QuerySpec, footprint

EVERY = ("day", "week", "month")
_FIELDS = {"title", "question", "every", "sd", "price", "epsilon", "purpose"}
_MOST_RUNS = 366
NoiseOf = Callable[[float | None, float | None, float | None], Noise | None]


@dataclass(frozen=True, slots=True)
class Standing:
    """One question that is asked again and again."""

    title: str
    spec: QuerySpec
    noise: Noise
    every: str
    purpose: str

    def runs(self) -> Iterator[QuerySpec]:
        """Those that begin within a year of the first."""
        period = self.spec.period
        if period is None:
            raise AssertionError("a standing question without a period was accepted")
        for number in range(_MOST_RUNS):
            start, end = moved(period.start, self.every, number), moved(period.end, self.every, number)
            if start >= moved(period.start, "month", 12):
                return
            yield QuerySpec.from_fields(self.spec.to_json() | {"period": {"from": str(start), "to": str(end)}})


@dataclass(frozen=True, slots=True)
class Line:
    """A standing question with its cost. `fullest` is what its most read block pays over the year."""

    standing: Standing
    cast: Forecast
    runs: int
    fullest: Fraction


@dataclass(frozen=True, slots=True)
class Year:
    """`paid` is {purpose: {block: price}} of all lines together."""

    lines: tuple[Line, ...]
    paid: Mapping[str, Mapping[str, Fraction]]

    @property
    def fits(self) -> bool:
        return all(price <= CONTRACT.limit(purpose) for purpose, blocks in self.paid.items() for price in blocks.values())


def year(standing: list[Standing], n: int) -> Year:
    """Raises BadUsage where a question cannot be priced."""
    paid: dict[str, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    lines = []
    for each in standing:
        own: dict[str, Fraction] = defaultdict(Fraction)
        casts: dict[tuple[tuple[int, int], ...], Forecast] = {}
        runs = list(each.runs())
        for run in runs:
            moved = Layout.of(run).sensitivities()  # a month of five weeks may cost more than one of four
            if moved not in casts:
                casts[moved] = forecast(run, each.noise, n)
            for block in footprint(run):
                own[block] += casts[moved].price.one
        for block, price in own.items():
            paid[each.purpose][block] += price
        lines.append(Line(each, casts[Layout.of(each.spec).sensitivities()], len(runs), max(own.values())))
    return Year(tuple(lines), {purpose: dict(sorted(blocks.items())) for purpose, blocks in paid.items()})


def read_year(path: Path, noise_of: NoiseOf) -> list[Standing]:
    """Raises BadUsage with the place, or QueryError with every problem of a question."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadUsage("error.file", path=path, why=f"> {MAX_FILE_BYTES} bytes")
        read = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadUsage("error.file", path=path, why=getattr(error, "strerror", None) or error) from None
    entries = read.get("standing")
    if set(read) != {"standing"} or not isinstance(entries, list) or not entries:
        raise BadUsage("error.year", place="[[standing]]")
    return [_standing(entry, number, path.parent, noise_of) for number, entry in enumerate(entries, start=1)]


def _standing(entry: Any, number: int, folder: Path, noise_of: NoiseOf) -> Standing:
    place = f"[[standing]] {number}"
    if (
        not isinstance(entry, dict)
        or not set(entry) <= _FIELDS
        or not all(isinstance(entry.get(f), str) for f in ("title", "question"))
    ):
        raise BadUsage("error.year", place=place)
    every, purpose = entry.get("every", "week"), entry.get("purpose", "surveillance")
    noises = [entry.get(name) for name in ("sd", "epsilon", "price")]
    if every not in EVERY or purpose not in PURPOSES or not all(each is None or type(each) in {int, float} for each in noises):
        raise BadUsage("error.year", place=place)
    text = entry["question"]
    spec = read_question(str(folder / text) if (folder / text).suffix and (folder / text).is_file() else text)
    noise = noise_of(*noises)
    if noise is None or spec.period is None:
        raise BadUsage("error.year", place=place)
    return Standing(entry["title"], spec, noise, every, purpose)


def moved(day: date, every: str, number: int) -> date:
    """So many days, weeks or months on; the last day of a shorter month."""
    if every != "month":
        return day + timedelta(days=number * (7 if every == "week" else 1))
    months = day.year * 12 + day.month - 1 + number
    last = (date((months + 1) // 12, (months + 1) % 12 + 1, 1) - timedelta(days=1)).day
    return date(months // 12, months % 12 + 1, min(day.day, last))
