"""Literals and chains of a syntax tree: the number, the day, the parts that stand side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from decimal import Decimal, InvalidOperation

from sqlglot import exp


def conjuncts(node: exp.Expr | None) -> Iterator[exp.Expr]:
    return flat(node, exp.And) if node is not None else iter(())


def flat(node: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    """The parts of a chain of AND or OR from left to right, without recursion: a chain may be thousands long."""
    left_to_do = [node]
    while left_to_do:
        part = left_to_do.pop().unnest()
        if isinstance(part, kind):
            left_to_do += [part.expression, part.this]
        else:
            yield part


def day_of(node: exp.Expr) -> date | None:
    if isinstance(node, exp.Cast) and node.to.this is exp.DType.DATE:
        node = node.this
    if not isinstance(node, exp.Literal) or not node.is_string or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", node.this):
        return None
    with suppress(ValueError):
        day = date.fromisoformat(node.this)
        return day if day < date.max else None
    return None


def number_of(node: exp.Expr) -> Decimal | None:
    """The number that a literal writes, with its sign."""
    sign = 1
    if isinstance(node, exp.Neg):
        sign, node = -1, node.this
    if not isinstance(node, exp.Literal) or node.is_string:
        return None
    with suppress(InvalidOperation):
        number = Decimal(node.this)
        return sign * number if abs(number) < 10**12 else None
    return None
