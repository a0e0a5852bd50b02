"""What the system, parsers and pydantic say of a wrong file is told in Chinese, with its place; so is every rule of a fit."""

import ast
import errno
import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from protocols.errors import MalformedBytes
from protocols.fit import FitSpec
from protocols.fits import of_fields
from protocols.outside import outside_in_chinese

ROOT = Path(__file__).parents[2]


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= sign <= "\u9fff" for sign in text)


def _said(call: Callable[[], object]) -> str:
    with pytest.raises((ValueError, MalformedBytes)) as caught:
        call()
    return str(caught.value)


_BROKEN = (
    lambda: json.loads('{"a": '),
    lambda: json.loads("{"),
    lambda: json.loads('{"a" 1}'),
    lambda: json.loads("[1 2]"),
    lambda: json.loads("{} {}"),
    lambda: json.loads('"a'),
    lambda: json.loads('"a\n"'),
    lambda: tomllib.loads("a = "),
    lambda: tomllib.loads("a = \n"),
    lambda: tomllib.loads("a"),
    lambda: tomllib.loads("a = 1 b"),
    lambda: tomllib.loads("a = 1\na = 2"),
    lambda: tomllib.loads("a = [1"),
    lambda: tomllib.loads('a = "x'),
    lambda: b"\xff\xfe".decode(),
    lambda: "诊断".encode("gb18030").decode(),
)


@pytest.mark.parametrize("broken", _BROKEN)
def test_a_file_that_cannot_be_parsed_is_told_in_chinese(broken: Callable[[], object]) -> None:
    said = _said(broken)
    assert _is_chinese(outside_in_chinese(said)), said


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EIO])
def test_what_the_system_refuses_is_told_in_chinese(code: int) -> None:
    assert _is_chinese(outside_in_chinese(os.strerror(code)))


_VISITS = {"version": 1, "fit": "logistic", "table": "visits", "outcome": "IMP", "features": ["age"]}
_PERIOD = {"from": "2025-01-01", "to": "2026-01-01"}
_TABLE = {"fit": "logistic", "table": "heart", "catalogue": "heart-1", "outcome": {"column": "sick", "category": "yes"}}


@pytest.mark.parametrize(
    "fields",
    [
        _VISITS,
        _VISITS | {"period": _PERIOD, "outcome": "X"},
        _VISITS | {"period": _PERIOD, "features": ["ages"]},
        _VISITS | {"period": _PERIOD, "features": []},
        _VISITS | {"period": _PERIOD, "more": 1},
        _VISITS | {"period": {"from": "2025-01-01", "to": "tomorrow"}},
        _VISITS | {"period": {"from": "2026-01-01", "to": "2025-01-01"}},
    ],
)
def test_a_wrong_field_of_a_fit_over_visits_is_told_in_chinese(fields: dict[str, object]) -> None:
    said = _said(lambda: FitSpec.from_json(fields))
    assert _is_chinese(outside_in_chinese(said)), said


@pytest.mark.parametrize(
    "fields",
    [
        {"fit": "logistics"},
        _TABLE,
        _TABLE | {"features": "age"},
        _TABLE | {"features": [{"column": "age", "low": "80", "high": "20"}]},
        _TABLE | {"features": [{"column": "sick", "category": "no"}]},
        _TABLE | {"features": [{"column": "age", "low": "20", "high": "80"}], "rows_per_patient": 0},
        _TABLE | {"features": [{"column": "age", "low": "20", "high": "80"}], "rows_per_patient": "many"},
        _TABLE | {"features": [{"column": "age", "low": "20", "high": "80"}], "table": "No Name"},
    ],
)
def test_a_wrong_field_of_a_fit_over_a_table_is_told_in_chinese_with_its_place(fields: dict[str, object]) -> None:
    said = _said(lambda: of_fields(fields))
    told = outside_in_chinese(said)
    assert _is_chinese(told), said
    assert told.split("：")[0] == "fit"


def test_every_rule_of_a_fit_has_its_chinese() -> None:
    rules = set()
    for path in (*(ROOT / "protocols" / "fits").glob("*.py"), ROOT / "protocols" / "fit.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="ValueError"), args=[ast.Constant(value=str(rule))]):
                    rules.add(rule)
                case ast.Call(func=ast.Name(id="ValueError"), args=[ast.JoinedStr(values=parts)]):
                    rules.add("".join(str(each.value) if isinstance(each, ast.Constant) else "7" for each in parts))
    assert len(rules) > 25, "the search has found them"
    assert [each for each in sorted(rules) if not _is_chinese(outside_in_chinese(each))] == []
    assert [each for each in sorted(rules) if outside_in_chinese(each).count("7") != each.count("7")] == []


def test_the_place_stays_and_what_is_not_known_stands_as_it_is() -> None:
    assert outside_in_chinese("fit.json: outcome: Field required") == "fit.json：outcome：缺少此项"
    assert outside_in_chinese("fit: x: Input should be 'a', 'b' or 'c'") == "fit：x：应为 'a', 'b' 或 'c'"
    assert outside_in_chinese("a thing: that nobody knows") == "a thing: that nobody knows"
