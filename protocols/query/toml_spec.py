"""Reads a query from a TOML or JSON file, the fields being those of the typed spec.

What a person may leave to the reader: defaults, the order of lists and conditions, dates and decimals as the file format
writes them, and a key or measure without options as a bare word. What is read is the same canonical spec as from SQL.
"""

from __future__ import annotations

import json
import re
import tomllib
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from protocols.query.errors import Problem, ProblemCode, QueryError
from protocols.query.spec import QuerySpec
from protocols.query.terms import decimal_text

_PLACE = re.compile(r"at line (\d+), column (\d+)")
_BARE_WORDS = {"keys": "key", "measures": "kind"}
_DECIMALS = {"lo", "hi", "number", "edges", "points"}
_WITH_DECIMALS = {"sum", "avg", "variance", "stddev", "quantiles", "summary"}


def parse_toml(text: str) -> QuerySpec:
    """Raises `QueryError` with the place of a syntax error, or with every broken rule and its field."""
    try:
        read = tomllib.loads(text, parse_float=_decimal)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        line, column = (int(place[1]), int(place[2])) if place else (text.count("\n") + 1, 1)
        raise QueryError([Problem(ProblemCode.SYNTAX, "file", "not TOML from here on", 'table = "visits"', line, column)]) from None
    except (RecursionError, ValueError, InvalidOperation):
        raise QueryError([Problem(ProblemCode.SYNTAX, "file", "not TOML that can be read", 'table = "visits"')]) from None
    return _spec(read)


def parse_json(text: str) -> QuerySpec:
    """As `parse_toml`, for JSON; a name given twice in one object is an error."""
    try:
        read = json.loads(text, parse_float=_decimal, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise QueryError(
            [Problem(ProblemCode.SYNTAX, "file", "not JSON from here on", '{"table": "visits"}', error.lineno, error.colno)]
        ) from None
    except (RecursionError, ValueError, InvalidOperation):
        raise QueryError([Problem(ProblemCode.SYNTAX, "file", "not JSON that can be read", '{"table": "visits"}')]) from None
    return _spec(read)


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    # An exponent may stand for a number too long to write out.
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise ValueError("a decimal out of range")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise QueryError([Problem(ProblemCode.DUPLICATE, "field", "a name given twice in one object", "each name once")])
    return fields


def _spec(read: Any) -> QuerySpec:
    if not isinstance(read, dict):
        raise QueryError([Problem(ProblemCode.SHAPE, "file", "an object was expected", '{"table": "visits"}')])
    return QuerySpec.from_fields({name: _named(name, content) for name, content in read.items()})


def _condition_order(condition: Any) -> tuple[str, bool]:
    if not isinstance(condition, dict):
        return "", False
    return str(condition.get("column")), "<" in str(condition.get("op", ""))


def _named(name: str, content: Any) -> Any:
    if name in _BARE_WORDS and isinstance(content, list):
        return [_in_canonical_types("", {_BARE_WORDS[name]: item} if isinstance(item, str) else item) for item in content]
    return _in_canonical_types(name, content)


def _in_canonical_types(name: str, content: Any) -> Any:
    """Decimals and dates as strings, lists that mean sets sorted; whatever is wrong is left for the spec to name."""
    if isinstance(content, dict):
        has_decimals = content.get("kind") in _WITH_DECIMALS or content.get("column") == "value" or content.get("key") == "bin"
        return {
            field: _spelled(inner) if has_decimals and field in _DECIMALS else _in_canonical_types(field, inner)
            for field, inner in content.items()
        }
    if isinstance(content, list) and name in {"prefixes", "values"} and all(isinstance(item, str) for item in content):
        return sorted(set(content))
    if isinstance(content, list):
        items = [_in_canonical_types("", item) for item in content]
        return sorted(items, key=_condition_order) if name == "where" else items
    if isinstance(content, Decimal):
        return decimal_text(content)
    if isinstance(content, date) and not isinstance(content, datetime):
        return content.isoformat()
    return str(content) if isinstance(content, datetime) else content


def _spelled(content: Any) -> Any:
    """A number, or a list of them, as decimals are spelled."""
    if isinstance(content, list):
        return [_spelled(each) for each in content]
    return str(content) if type(content) is int else _in_canonical_types("", content)
