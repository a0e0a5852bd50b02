"""The catalogue entry of this hospital: declared by IT in `<home>/dataset.toml`, never computed from records.

`size_class` is the exponent of a power of two above the number of rows: 20 means "fewer than 2^20". It is public.
"""

import tomllib
from pathlib import Path

from pydantic import Field

from hospital_node.config import Settings, read_toml
from hospital_node.errors import InvalidConfig
from protocols.clock import stamp
from protocols.query import Table
from protocols.query.footprint import PATIENTS_BLOCK
from protocols.statements import Dataset
from protocols.statements import Table as DeclaredTable
from protocols.statements.base import Block, Label

DATASET_FILE = "dataset.toml"


class TableFields(Settings):
    """One [[table]] of the file."""

    name: Label
    size_class: int = Field(ge=10, le=34)
    first_day: Label
    last_day: Label
    code_systems: list[Label]


class DatasetFile(Settings):
    """The whole file."""

    freshness: Label
    static_blocks: list[Block] = Field(default_factory=lambda: [PATIENTS_BLOCK])
    table: list[TableFields] = Field(min_length=1)

    def statement(self, origin: str, uri: str, now: int) -> Dataset:
        tables = tuple(
            DeclaredTable(
                name=each.name,
                size_class=each.size_class,
                first_day=each.first_day,
                last_day=each.last_day,
                code_systems=tuple(each.code_systems),
            )
            for each in self.table
        )
        return Dataset(
            log=origin, at=stamp(now), by=uri, tables=tables, freshness=self.freshness, static_blocks=tuple(self.static_blocks)
        )


def read_dataset(home: Path) -> DatasetFile | None:
    """The declaration, or None while the file is absent or holds comments only. Raises InvalidConfig."""
    path = home / DATASET_FILE
    if not path.exists() or _is_empty(path):
        return None
    found = read_toml(path, DatasetFile, "copy it from a folder that `kapok-node init` has made")
    if unknown := sorted({each.name for each in found.table} - {str(each) for each in Table}):
        raise InvalidConfig(f"{path}: table: {', '.join(unknown)} is not one of {', '.join(Table)}")
    return found


def _is_empty(path: Path) -> bool:
    try:
        return not tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return False  # read_toml says what is wrong


DEFAULT_DATASET = """\
# What this hospital declares to everyone in the catalogue. Written by people, never computed from records.
# Take the comment signs away and correct the lines; nothing is declared while all of them are comments.
# 本院向目录公开的内容，由信息科填写，不从病历计算。去掉注释符号并修改后生效。

# freshness = "daily"
# static_blocks = ["static:patients"]

# [[table]]
# name = "diagnoses"          # visits, diagnoses, measurements or patients
# size_class = 20             # fewer than 2^20 rows
# first_day = "2023-01-01"
# last_day = "open"
# code_systems = ["ICD-10-CN"]
"""
