"""A text read, or every problem it is refused for."""

from __future__ import annotations

from typing import Any

import pytest

from protocols.query import Problem, QueryError
from protocols.query.sql import parse_sql

YEAR = "date >= DATE '2025-01-01' AND date < DATE '2026-01-01'"


def fields(text: str) -> dict[str, Any]:
    return parse_sql(text).to_json()


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(QueryError) as caught:
        parse_sql(text)
    return caught.value.problems
