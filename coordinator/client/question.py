"""From what a person typed to the typed question: SQL on the command line, or a file of SQL, TOML or JSON.

`--cells-per-patient`, `--clamp` and `--bound` then replace the bounds that the text states or leaves to their defaults.
"""

from pathlib import Path

from coordinator.client.errors import BadUsage
from protocols.query import QuerySpec, parse_json, parse_toml

MAX_FILE_BYTES = 1_000_000


def _parse_sql(text: str) -> QuerySpec:
    from protocols.query.sql import parse_sql

    return parse_sql(text)


_READERS = {".toml": parse_toml, ".json": parse_json, ".sql": _parse_sql}


def read_question(text: str, cells_per_patient: int | None = None, clamp: int | None = None, bound: str | None = None) -> QuerySpec:
    """The spec that `text`, or the file it names, means. Raises QueryError with every problem, or BadUsage for a bad file."""
    reader = _READERS.get(Path(text.strip()).suffix.lower())
    spec = reader(_file(Path(text.strip()))) if reader else _parse_sql(text)
    fields = spec.to_json()
    if cells_per_patient is not None:
        fields["cells_per_patient"] = cells_per_patient
    if bound is not None:
        fields["bound"] = bound
    if clamp is not None:
        fields["measures"] = [{**each, "hi": clamp} if each["kind"] == "count" else each for each in fields["measures"]]
    return QuerySpec.from_fields(fields)


def _file(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadUsage("error.file", path=path, why=f"> {MAX_FILE_BYTES} bytes")
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage("error.file", path=path, why=getattr(error, "strerror", None) or type(error).__name__) from None
