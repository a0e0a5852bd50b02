"""SQL text as a syntax tree with places: where a construct stands, and what to call it to its writer.

Text is only parsed here, never generated, transpiled or run. Length and nesting are bounded before the parser sees it, so
that a hostile text ends in a problem with a place and not in an exhausted stack.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from protocols.query.errors import Problem, ProblemCode, QueryError

MAX_TEXT = 32_000
MAX_NESTING = 20
EXAMPLE = "SELECT week, COUNT(*) FROM visits WHERE date >= DATE '2025-01-01' AND date < DATE '2026-01-01' GROUP BY week"

# What the parser calls a clause of SELECT, the keyword a writer used for it, and what to do instead.
CLAUSES: dict[str, tuple[str, str]] = {
    "having": ("HAVING", "filter the answer after it is released: it costs nothing there"),
    "order": ("ORDER BY", "sort the answer: cells come in the order of the keys"),
    "limit": ("LIMIT", "cut the answer after it is released, or shorten a list or the period"),
    "offset": ("OFFSET", "cut the answer after it is released"),
    "joins": ("JOIN", "one table; district, sex and age stand on every row"),
    "laterals": ("LATERAL", "one table"),
    "windows": ("WINDOW", "ask per week and compute over the released answer"),
    "qualify": ("QUALIFY", "filter the answer after it is released"),
    "distinct": ("SELECT DISTINCT", "COUNT(DISTINCT person_id)"),
    "with_": ("WITH", "one SELECT"),
    "sample": ("SAMPLE", "all rows: the noise is the same"),
    "into": ("INTO", "no INTO: the answer goes to the asker"),
    "locks": ("FOR UPDATE", "no lock: nothing is written"),
}

_NAMES: dict[type[exp.Expr], tuple[str, str]] = {
    exp.Subquery: ("subquery", "one SELECT over one table"),
    exp.Exists: ("EXISTS", "HAS(diagnoses, icd10 LIKE 'J10%', -3, 3): a row within these days of this one"),
    exp.Window: ("window function", "ask per week and compute over the released answer"),
    exp.Filter: ("FILTER", "FILTER (WHERE ...) right after a measure"),
    exp.Case: ("CASE", "keys age_band and icd10_prefix, or COUNT(*) FILTER (WHERE ...)"),
    exp.If: ("IF", "keys age_band and icd10_prefix, or COUNT(*) FILTER (WHERE ...)"),
    exp.Cast: ("CAST", "the column itself: types are fixed"),
    exp.Distinct: ("DISTINCT", "COUNT(DISTINCT person_id)"),
    exp.Star: ("*", "the keys by name, and COUNT(*)"),
    exp.Not: ("NOT", "NOT in WHERE or FILTER, around conditions of the row"),
    exp.NEQ: ("<>", "NOT sex = 'F', or the list of what is wanted: sex IN ('F', 'M')"),
    exp.Is: ("IS", "nothing: rows without a value are not counted"),
    exp.ILike: ("ILIKE", "icd10 LIKE 'J10%'"),
    exp.Or: ("OR", "conditions of a window are joined by AND; OR between two windows"),
    exp.Rollup: ("ROLLUP", "ROLLUP(...) once, around every key"),
    exp.Cube: ("CUBE", "CUBE(...) once, around every key"),
    exp.GroupingSets: ("GROUPING SETS", "GROUPING SETS ((...), ...) once, the set of all keys among them"),
    exp.Literal: ("literal", "a key by its name"),
    exp.Placeholder: ("placeholder", "the value itself"),
    exp.Null: ("NULL", "nothing: rows without a value are not counted"),
    exp.Alias: ("alias", "no alias here"),
}

_MEASURES = (
    "COUNT(*), COUNT(DISTINCT person_id or resident_id), SUM, AVG, VARIANCE, STDDEV, MEDIAN, QUANTILE of CLAMP(...), TABLE_ONE, "
    "KAPLAN_MEIER"
)


def name_of(node: exp.Expr) -> tuple[str, str]:
    """A construct in its writer's words, and the nearest thing that the language offers."""
    for kind, named in _NAMES.items():
        if type(node) is kind:
            return named
    if isinstance(node, exp.Binary | exp.Neg) and not isinstance(node, exp.Predicate):
        return "arithmetic", "the column itself; compute over the released answer"
    if isinstance(node, exp.Anonymous):
        return f"function {node.name.upper()}", _MEASURES
    if isinstance(node, exp.Func):
        return f"function {node.sql_name()}", _MEASURES
    return node.key.upper(), EXAMPLE


@dataclass(frozen=True, slots=True)
class Source:
    """One SELECT and its text."""

    text: str
    tokens: tuple[Token, ...]
    select: exp.Select

    @classmethod
    def read(cls, text: str) -> Source:
        """Parses one SELECT. Raises `QueryError` for text that is none."""
        if len(text) > MAX_TEXT:
            raise QueryError([Problem(ProblemCode.SYNTAX, "query", f"longer than {MAX_TEXT} characters", "shorter lists")])
        try:
            tokens = tuple(sqlglot.tokenize(text, read="duckdb"))
            if problem := _not_one_select(text, tokens):
                raise QueryError([problem])
            tree = sqlglot.parse_one(text, read="duckdb")
        except ParseError as error:
            found = error.errors[0] if error.errors else {}
            line, end, word = found.get("line") or 0, found.get("col") or 0, found.get("highlight") or ""
            column = max(1, end - len(word) + 1)
            raise QueryError([Problem(ProblemCode.SYNTAX, "query", "not SQL from here on", EXAMPLE, line, column)]) from None
        except (SqlglotError, RecursionError):
            raise QueryError(
                [Problem(ProblemCode.SYNTAX, "query", "not SQL: a quote or bracket is left open", EXAMPLE, 1, 1)]
            ) from None
        if not isinstance(tree, exp.Select):
            name = tree.key.upper()
            line, column = _place(text, _keyword(tokens, name))
            raise QueryError([Problem(ProblemCode.OUTSIDE_LANGUAGE, name, "not one SELECT", EXAMPLE, line, column)])
        return cls(text, tokens, tree)

    def place(self, node: exp.Expr) -> tuple[int, int]:
        """Line and column of a node's first character; a node without a place of its own stands where its parts begin."""
        starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
        keyword = node.name.upper() if isinstance(node, exp.Anonymous) else name_of(node)[0].split()[0]
        if not starts and keyword not in {token.text.upper() for token in self.tokens} and node.parent is not None:
            return self.place(node.parent)
        start = min(starts, default=_keyword(self.tokens, keyword))
        if isinstance(node, exp.Case | exp.Not | exp.Exists | exp.Subquery | exp.Anonymous):
            opening = {keyword} if isinstance(node, exp.Anonymous) else {keyword, "("}
            before = [token.start for token in self.tokens if token.start <= start and token.text.upper() in opening]
            start = before[-1] if before else start
        return _place(self.text, start)

    def place_of_keyword(self, words: str) -> tuple[int, int]:
        return _place(self.text, _keyword(self.tokens, words))


def _not_one_select(text: str, tokens: tuple[Token, ...]) -> Problem | None:
    """Whatever is not a SELECT stops here: the parser logs such statements with their text."""
    if not tokens:
        return Problem(ProblemCode.SYNTAX, "query", "empty", EXAMPLE, 1, 1)
    first = tokens[0]
    if first.token_type not in {TokenType.SELECT, TokenType.WITH}:
        return Problem(ProblemCode.OUTSIDE_LANGUAGE, "statement", "not a SELECT", EXAMPLE, *_place(text, first.start))
    depth = 0
    for n, token in enumerate(tokens):
        if token.token_type is TokenType.SEMICOLON and n + 1 < len(tokens):
            return Problem(ProblemCode.OUTSIDE_LANGUAGE, ";", "a second statement", "one SELECT", *_place(text, token.start))
        depth += {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}.get(token.token_type, 0)
        if depth > MAX_NESTING:
            return Problem(ProblemCode.SYNTAX, "(", f"more than {MAX_NESTING} brackets deep", EXAMPLE, *_place(text, token.start))
    return None


def _keyword(tokens: tuple[Token, ...], words: str) -> int:
    """Where a keyword of one or two words starts; the text's start when it is not there as such (a comma that joins)."""
    for token in tokens:
        if token.text.upper() == words:
            return token.start
    last = words.split()[-1]
    return next((token.start for token in tokens if token.text.upper() == last), 0)


def _place(text: str, start: int) -> tuple[int, int]:
    return text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
