"""The query language: the typed spec is the truth, SQL and TOML are ways to write one (see README.md)."""

from protocols.query.domains import MAX_CELLS, AgeBands, Axis, Grid
from protocols.query.errors import Problem, ProblemCode, QueryError
from protocols.query.footprint import Layout, Part, Segment, footprint
from protocols.query.spec import QuerySpec
from protocols.query.terms import Table

__all__ = [
    "MAX_CELLS",
    "AgeBands",
    "Axis",
    "Grid",
    "Layout",
    "Part",
    "Problem",
    "ProblemCode",
    "QueryError",
    "QuerySpec",
    "Segment",
    "Table",
    "footprint",
]
