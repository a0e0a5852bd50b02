"""The query language: the typed spec is the truth, SQL and TOML are ways to write one (see README.md).

The reader of SQL is imported from `protocols.query.sql` where a text is read: it brings a parser
that nodes and auditors do not need.
"""

from protocols.query.cohort import tables_named
from protocols.query.domains import MAX_CELLS, AgeBands, Axis, Grid
from protocols.query.errors import Problem, ProblemCode, QueryError
from protocols.query.footprint import Layout, Part, Segment, footprint
from protocols.query.spec import QuerySpec
from protocols.query.terms import Table
from protocols.query.toml_spec import parse_json, parse_toml
from protocols.query.words import Language, in_words

__all__ = [
    "MAX_CELLS",
    "AgeBands",
    "Axis",
    "Grid",
    "Language",
    "Layout",
    "Part",
    "Problem",
    "ProblemCode",
    "QueryError",
    "QuerySpec",
    "Segment",
    "Table",
    "footprint",
    "in_words",
    "parse_json",
    "parse_toml",
    "tables_named",
]
