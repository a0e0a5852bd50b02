"""Reads FHIR R4: Bundles (transaction, batch, collection) as JSON and Bulk Data NDJSON, each plain or gzip, into an intake.

Rules
- A line (NDJSON) or an entry (Bundle) that is not JSON, not FHIR or of the wrong shape is skipped and named by file and
  line; its neighbours are loaded. A file that breaks off (truncated gzip, Bundle that is not JSON) stops the import: half
  a file must not pass for a whole one.
- Inside a Bundle `urn:uuid:…` means the entry with that `fullUrl`, whatever id its resource has. A resource without an id
  takes that of its `fullUrl`.
- Resource types other than the four are counted as not used.
"""

import gc
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from hospital_node.records.errors import NoSuchSource, UnreadableSource
from hospital_node.records.fhir_rows import EVENT_EXTRACTS, Extract, patient_extract
from hospital_node.records.intake import Intake
from hospital_node.records.report import Reason, Tally
from hospital_node.records.residents import TagOf, no_tag
from hospital_node.records.statements import Kind, Row

Progress = Callable[[int], None]
"""Told how many bytes of the file on disk were read since the last call."""

_SUFFIXES = (".json", ".ndjson", ".jsonl", ".json.gz", ".ndjson.gz", ".jsonl.gz")
_LINES_PER_BATCH = 10_000
_MALFORMED = (AttributeError, KeyError, TypeError, IndexError)
_BOM = b"\xef\xbb\xbf"


def fhir_files(paths: Iterable[Path]) -> list[Path]:
    """Every file named, and every FHIR file of every folder named, in a fixed order.

    Raises:
        NoSuchSource: a path is missing, a folder holds no such file, or a file has another suffix.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and file.name.endswith(_SUFFIXES))
            if not inside:
                raise NoSuchSource(f"{path}: no file ends in {', '.join(_SUFFIXES)}")
            found += inside
        elif not path.is_file():
            raise NoSuchSource(f"{path}: no such file or folder")
        elif not path.name.endswith(_SUFFIXES):
            raise NoSuchSource(f"{path}: expected a name ending in {', '.join(_SUFFIXES)}")
        else:
            found.append(path)
    return list(dict.fromkeys(found))


class FhirReader:
    """Feeds the rows of FHIR files to an intake."""

    def __init__(
        self,
        intake: Intake,
        tally: Tally,
        by_postal_code: Mapping[str, str],
        progress: Progress,
        residents: tuple[str | None, TagOf] = (None, no_tag),
    ) -> None:
        self._intake, self._tally, self._progress = intake, tally, progress
        self._rows: dict[Kind, list[Row]] = {kind: [] for kind in Kind}
        by_type = {"Patient": (Kind.PERSON, patient_extract(by_postal_code, *residents)), **EVENT_EXTRACTS}
        self._extracts: dict[str, tuple[Extract, list[Row]]] = {
            name: (extract, self._rows[kind]) for name, (kind, extract) in by_type.items()
        }

    def read(self, path: Path) -> None:
        """One file, whichever of the four forms it has.

        Raises:
            UnreadableSource: the file cannot be read to its end, or is no JSON at all.
        """
        before_first = self._tally.begin_file(path.name)
        try:
            with _opened(path) as (content, position), _collector_off():
                if path.name.removesuffix(".gz").endswith(".json"):
                    self._read_json(path, content.read(), before_first)
                else:
                    self._read_lines(content, before_first, position)
                    self._tally.bytes_read += content.tell()
        except (gzip.BadGzipFile, zlib.error) as cause:
            raise UnreadableSource(f"{path}: is not gzip, or is damaged") from cause
        except EOFError as cause:
            raise UnreadableSource(f"{path}: breaks off before its end") from cause
        except OSError as cause:
            raise UnreadableSource(f"{path}: {cause.strerror or 'cannot be read'}") from cause
        self._flush()
        self._progress(0)

    def _read_lines(self, lines: Iterator[bytes], before_first: int, position: Callable[[], int]) -> None:
        place, done = before_first, 0
        while True:
            first = place
            place = self._read_batch(islice(lines, _LINES_PER_BATCH), place)
            if place == first:
                return
            self._flush()
            self._progress(position() - done)
            done = position()

    def _read_batch(self, lines: Iterable[bytes], before: int) -> int:
        """The place of the last line. A bulk export passes through this loop: it looks up outside what it can."""
        loads, extracts, read, place = orjson.loads, self._extracts, self._tally.read, before
        for place, line in enumerate(lines, before + 1):
            try:
                resource = loads(line)
                name = resource["resourceType"]
                extract, rows = extracts[name]
                extract(resource, place, rows)
                read[name] += 1
            except (orjson.JSONDecodeError, *_MALFORMED):
                self._take_slowly(line, place)
        return place

    def _take_slowly(self, line: bytes, place: int) -> None:
        """A line that is not one of the four types in its right shape: says what it is."""
        line = line.removeprefix(_BOM)
        if not line.strip():
            return
        try:
            self._take(orjson.loads(line), place)
        except orjson.JSONDecodeError:
            self._tally.skip(Reason.NOT_JSON, place)

    def _take(self, resource: Any, place: int) -> None:
        try:
            name = resource["resourceType"]
            used = self._extracts.get(name)
        except _MALFORMED:
            self._tally.skip(Reason.NOT_FHIR, place)
            return
        if used is None:
            self._tally.not_used[_type_name(name)] += 1
            return
        extract, rows = used
        self._tally.read[name] += 1
        try:
            extract(resource, place, rows)
        except _MALFORMED:
            self._tally.skip(Reason.MALFORMED, place)

    def _read_json(self, path: Path, content: bytes, before_first: int) -> None:
        content = content.removeprefix(_BOM)
        try:
            whole = orjson.loads(content)
        except orjson.JSONDecodeError as cause:
            if _is_json(content.split(b"\n", 1)[0]):  # NDJSON under a .json name
                self._read_lines(iter(content.splitlines()), before_first, lambda: 0)
                self._tally.bytes_read += len(content)
                return
            # `from None`: the cause carries the whole document.
            raise UnreadableSource(f"{path}:{cause.lineno}: is not JSON") from None
        self._tally.bytes_read += len(content)
        if isinstance(whole, dict) and whole.get("resourceType") == "Bundle":
            self._read_bundle(whole.get("entry") or [], before_first)
        else:
            self._take(whole, before_first + 1)
        self._progress(path.stat().st_size)

    def _read_bundle(self, entries: Any, before_first: int) -> None:
        if not isinstance(entries, list):
            self._tally.skip(Reason.NOT_FHIR, before_first + 1)
            return
        aliases = _name_by_url(entries)
        for place, entry in enumerate(entries, before_first + 1):
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if not isinstance(resource, dict):
                self._tally.skip(Reason.NOT_FHIR, place)
                continue
            for reference in (resource.get("subject"), resource.get("encounter")) if aliases else ():
                if isinstance(reference, dict) and reference.get("reference") in aliases:
                    reference["reference"] = aliases[reference["reference"]]
            self._take(resource, place)

    def _flush(self) -> None:
        for kind, rows in self._rows.items():
            self._intake.add(kind, rows)
            rows.clear()


def _name_by_url(entries: list[Any]) -> dict[str, str]:
    """fullUrl -> id where the two differ; gives a resource without an id the one in its fullUrl."""
    aliases: dict[str, str] = {}
    for entry in entries:
        url, resource = (entry.get("fullUrl"), entry.get("resource")) if isinstance(entry, dict) else (None, None)
        if not isinstance(url, str) or not isinstance(resource, dict):
            continue
        last = url.removeprefix("urn:uuid:").rsplit("/", 1)[-1]
        name = resource.setdefault("id", last)
        if isinstance(name, str) and name != last:
            aliases[url] = name
    return aliases


def _type_name(name: str) -> str:
    return name if name.isascii() and name.isalpha() and len(name) <= 40 else "?"


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
    """The uncompressed bytes of a file, and where on the disk the reading stands."""
    with path.open("rb", buffering=1 << 20) as raw:
        if path.name.endswith(".gz"):
            with gzip.open(raw) as content:
                yield cast(BinaryIO, content), raw.tell
        else:
            yield raw, raw.tell


@contextmanager
def _collector_off() -> Iterator[None]:
    """Parsed resources hold no cycles; collecting among millions of them costs a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
