"""An answer as a file for other programs: CSV that Excel opens in Chinese, Parquet, or JSON (schema in README.md).

Columns: one per key (its code), `<key>_name` where codes have names, then `<measure>_value`, `_lower`, `_upper`, `_half_width`,
`_reliability`. Nothing is rounded or clamped; a mean that cannot be told from the noise is empty. An answer in exact
mode has a first column `mode` that says so in every row.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator.client.checked import Verified
from coordinator.client.column import Column
from coordinator.client.coverage import coverage_json
from coordinator.client.ends import survival_json, survivals
from coordinator.client.errors import BadUsage
from coordinator.client.sentences import SENTENCES
from coordinator.client.table import AnswerTable
from coordinator.client.table_one import is_table_one, table_one_json
from coordinator.client.texts import ENGLISH, NAMED, Say
from protocols.answer import Answer as Bundle
from protocols.exact import EXACT, MODE

if TYPE_CHECKING:
    import pyarrow

FORMATS = (".csv", ".parquet", ".json")
CHART_FORMATS = (".png", ".svg")
PRIVATE = "private"
_NUMBERS = ("value", "lower", "upper", "half_width")


def arrow_table(cells: AnswerTable, say: Say = ENGLISH) -> "pyarrow.Table":
    import pyarrow as pa  # here and below: an answer that is only shown needs no library of files

    columns: dict[str, Any] = {MODE: [EXACT] * cells.grid.size} if cells.is_exact else {}
    for key, labels in cells.key_columns().items():
        columns[key] = labels
        if key in NAMED:
            columns[f"{key}_name"] = [say.label(key, label) for label in labels]
    for column in cells.columns:
        for name, numbers in zip(_NUMBERS, (column.values, column.lower, column.upper, column.half_width), strict=True):
            columns[f"{column.name}_{name}"] = pa.array(numbers, from_pandas=True)
        columns[f"{column.name}_reliability"] = column.reliability.tolist()
    return pa.table(columns)


def write(answer: Verified, path: Path, say: Say) -> None:
    """Raises BadUsage for a name whose ending says no format, or a place that cannot be written."""
    write_file(path, lambda: as_json(answer), lambda: arrow_table(answer.cells, say))


def write_file(path: Path, as_json: Callable[[], dict[str, Any]], as_table: Callable[[], "pyarrow.Table"]) -> None:
    """In the format that the name's ending says. Raises BadUsage as `write` does."""
    ending = require_format(path, FORMATS)
    try:
        if ending == ".json":
            path.write_text(json.dumps(as_json(), ensure_ascii=False, indent=1) + "\n", "utf-8")
        elif ending == ".parquet":
            from pyarrow import parquet

            parquet.write_table(as_table(), path)
        else:
            _write_csv(as_table(), path)
    except OSError as error:
        raise BadUsage("error.file", path=path, why=error.strerror or type(error).__name__) from None


def require_format(path: Path, known: tuple[str, ...]) -> str:
    """The ending, lower case. Raises BadUsage; call it before asking, so that a typing error costs no budget."""
    ending = path.suffix.lower()
    if ending not in known:
        raise BadUsage("error.format", path=path, known=", ".join(known))
    if not path.parent.is_dir():
        raise BadUsage("error.file", path=path, why="no such folder")
    return ending


def _write_csv(table: "pyarrow.Table", path: Path) -> None:
    from pyarrow import csv

    with path.open("wb") as file:
        file.write(b"\xef\xbb\xbf")  # without this mark Excel reads UTF-8 as the local code page
        csv.write_csv(table, file)


def as_json(answer: Verified) -> dict[str, Any]:
    """The whole answer for machines. `rows` are all cells, row-major; `total` is the sum of all cells with its own interval."""
    bundle, query = answer.bundle, answer.query
    return {
        "query": answer.id,
        "state": "released",
        **mode_json(answer.is_exact),
        "asked_at": query.at,
        "by": query.by,
        "purpose": query.purpose,
        "programme": query.programme,
        "spec": query.spec,
        "keys": [{"key": axis.key, "labels": list(axis.labels)} for axis in answer.cells.axes],
        "measures": [column.name for column in answer.cells.columns],
        "rows": _rows(answer.cells),
        "totals": [{"keys": list(level), "rows": _rows(answer.cells.collapsed(level))} for level in answer.spec.totals or ()],
        "total": _rows(answer.cells.collapsed(()))[0]["measures"],
        **({"table_one": table_one_json(answer, ENGLISH)} if is_table_one(answer) else {}),
        **({"survival": survival_json(answer)} if survivals(answer.cells) else {}),
        **({} if answer.is_exact else _privacy(bundle)),
        "coverage": coverage_json(bundle.coverage, answer.reasons),
    }


def _privacy(bundle: Bundle) -> dict[str, Any]:
    return {
        "level": "0.95",
        "noise_variances": list(bundle.total_variances),
        "price": bundle.price,
        "spending": [each.model_dump() for each in bundle.spending],
    }


def mode_json(is_exact: bool) -> dict[str, Any]:
    """Whether an answer is private; where it is not, why, in both languages, since nobody knows who reads the file."""
    if not is_exact:
        return {"mode": PRIVATE, "private": True}
    return {"mode": EXACT, "private": False, "warning": {"en": SENTENCES["exact.answer"][1], "zh": SENTENCES["exact.answer"][0]}}


def _rows(cells: AnswerTable) -> list[dict[str, Any]]:
    keys = cells.key_columns()
    measures = {column.name: _numbers(column) for column in cells.columns}
    return [
        {"keys": {key: labels[n] for key, labels in keys.items()}, "measures": {name: row[n] for name, row in measures.items()}}
        for n in range(cells.grid.size)
    ]


def _numbers(column: Column) -> list[dict[str, Any]]:
    arrays = (column.values, column.lower, column.upper, column.half_width)
    rows = zip(*(map(_or_null, array.tolist()) for array in arrays), column.reliability.tolist(), strict=True)
    return [dict(zip((*_NUMBERS, "reliability"), row, strict=True)) for row in rows]


def _or_null(number: float) -> float | None:
    return None if math.isnan(number) else number
