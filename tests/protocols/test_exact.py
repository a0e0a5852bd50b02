"""Exact mode in a statement: what marks it, what it must keep, and that neither mode passes for the other."""

from typing import Any

import pytest

from protocols.asked import Asked
from protocols.errors import MalformedBytes
from protocols.exact import EXACT, LARGEST_ENTRY, MODE, as_exact, is_exact, permission, statement_refusals, without_mode
from protocols.query import QueryError
from protocols.refusal import Reason
from protocols.secagg.member import fixed_set_refusals
from tests.protocols.examples import HOSPITALS, SPEC, binding, exact_query, query


def codes(**changes: Any) -> list[Reason]:
    return [each.reason for each in statement_refusals(exact_query(**changes))]


def test_an_exact_statement_and_a_private_one_keep_the_rules_of_their_mode() -> None:
    assert codes() == []
    assert list(statement_refusals(query())) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"variances": ("100.0000",)}, Reason.NOISE_MALFORMED),
        ({"purpose": "surveillance"}, Reason.EXACT_STATEMENT),
        ({"purpose": "outbreak"}, Reason.EXACT_STATEMENT),
        ({"programme": "0" * 64}, Reason.EXACT_STATEMENT),
        ({"floor": 4}, Reason.FLOOR_TOO_LOW),
        ({"audience": HOSPITALS[:4]}, Reason.TOO_FEW_MEMBERS),
        ({"floor": 6}, Reason.TOO_FEW_MEMBERS),
    ],
)
def test_each_rule_of_an_exact_statement_is_refused_by_its_code(changes: dict[str, Any], reason: Reason) -> None:
    assert codes(**changes) == [reason]


def test_a_private_statement_without_noise_is_refused_in_whichever_part() -> None:
    silent = query(variances=("100.0000", "0.0000"))
    assert [each.reason for each in statement_refusals(silent)] == [Reason.NOISE_MALFORMED]


def test_the_mode_is_marked_in_the_spec_and_taken_off_again() -> None:
    assert is_exact(as_exact(SPEC))
    assert not is_exact(SPEC)
    assert without_mode(as_exact(SPEC)) == SPEC


@pytest.mark.parametrize("mode", ["private", "Exact", "", True, None, 1])
def test_any_other_mode_is_no_question_of_the_language(mode: object) -> None:
    with pytest.raises((QueryError, MalformedBytes)):
        Asked.of(query(spec={**SPEC, MODE: mode}))


def test_an_exact_question_has_the_shape_of_the_private_one_without_its_noise() -> None:
    private, exact = Asked.of(query()), Asked.of(exact_query())
    assert (exact.spec, exact.table, exact.blocks) == (private.spec, private.table, private.blocks)
    assert exact.dimension == private.dimension
    assert (exact.is_exact, exact.variances) == (True, (0,))
    assert [each.cell_max for each in exact.pieces] == [LARGEST_ENTRY]
    assert not private.is_exact


@pytest.mark.parametrize("variance", ["0.0625", "100.0000", "0.0001"])
def test_an_exact_question_with_noise_has_no_shape(variance: str) -> None:
    with pytest.raises(MalformedBytes, match="exact mode has a noise variance of"):
        Asked.of(exact_query(variances=(variance,)))


@pytest.mark.parametrize(
    ("measure", "parts"),
    [
        ({"kind": "stddev", "column": "age", "lo": "0", "hi": "100", "steps": 50}, 3),
        ({"kind": "quantiles", "column": "age", "lo": "0", "hi": "100", "bins": 20, "points": ["0.5"]}, 1),
        ({"kind": "summary", "column": "age", "lo": "0", "hi": "100", "steps": 16, "bins": 20}, 4),
        ({"kind": "categories", "column": "sex"}, 1),
    ],
)
def test_a_measure_that_cuts_values_has_no_exact_mode(measure: dict[str, Any], parts: int) -> None:
    with pytest.raises(MalformedBytes, match="no measure that cuts values"):
        Asked.of(exact_query(spec=as_exact({**SPEC, "measures": [measure]}), variances=("0.0000",) * parts))


def test_a_permission_is_no_name_of_a_table() -> None:
    assert permission("visits") == f"{EXACT}:visits"


def test_whoever_is_missing_from_the_fixed_set_is_named_also_where_it_is_only_not_counted() -> None:
    whole = binding(counting=HOSPITALS)
    assert list(fixed_set_refusals(whole, HOSPITALS)) == []
    [missing] = fixed_set_refusals(binding(counting=HOSPITALS[:4]), HOSPITALS)
    assert (missing.reason, missing.subject) == (Reason.NOT_THE_FIXED_SET, HOSPITALS[4])
