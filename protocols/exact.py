"""Exact mode, the one exception to private answers: secure sums without noise, each asked, approved and permitted by itself.

A statement is exact when its spec says `"mode": "exact"` and every variance is zero; it is private when it says neither. Rules that
the statement alone decides:
- the purpose is research and no programme is named: the approval is the auditor's, for this very id;
- the floor is at least five hospitals, and the audience holds it;
- no noise is stated, so that nobody can take the answer for a private one.

The rest is for those who know more: the whole audience takes part, in every attempt and round, or the question fails
(`secagg.member`, the opener); each hospital states in its policy which tables it answers so (`permission`); what a second exact
question over the same records may be is the auditor's rule (`audit_ledger.exact`). No budget is charged: there is no noise that a
price could be computed from (decision 0011).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from protocols.contract import CONTRACT, LARGEST_ENTRY
from protocols.refusal import Reason, Refusal
from protocols.statements import Query

MODE, EXACT = "mode", "exact"
NO_NOISE = "0.0000"
NOT_PRIVATE = "not private"
"""What stands where an epsilon would."""


def is_exact(spec: Mapping[str, Any]) -> bool:
    return bool(spec.get(MODE) == EXACT)


def as_exact(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The same question, asked in exact mode."""
    return {**spec, MODE: EXACT}


def without_mode(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked, without how; any other mode stays and is refused as an unknown field."""
    return {name: value for name, value in spec.items() if not (name == MODE and value == EXACT)}


def permission(table: str) -> str:
    """How a policy states, among its tables, that it answers this one in exact mode too."""
    return f"{EXACT}:{table}"


def statement_refusals(query: Query) -> Iterator[Refusal]:
    """Every rule of either mode that the statement itself breaks."""
    silent = [each == NO_NOISE for each in query.variances]
    if not is_exact(query.spec):
        if any(silent):
            yield Refusal(Reason.NOISE_MALFORMED, "noise in every part of a private answer", "none")
        return
    if not all(silent):
        yield Refusal(Reason.NOISE_MALFORMED, f"variances of {NO_NOISE} in exact mode", "noise")
    if query.purpose != "research" or query.programme is not None:
        yield Refusal(Reason.EXACT_STATEMENT, "research, under no programme", query.purpose)
    if query.floor < CONTRACT.exact_floor:
        yield Refusal(Reason.FLOOR_TOO_LOW, str(CONTRACT.exact_floor), str(query.floor))
    if len(query.audience) < query.floor:
        yield Refusal(Reason.TOO_FEW_MEMBERS, f"{query.floor} hospitals", str(len(query.audience)))


__all__ = [
    "EXACT", "LARGEST_ENTRY", "MODE", "NOT_PRIVATE", "NO_NOISE", "as_exact", "is_exact", "permission", "statement_refusals",
    "without_mode",
]  # fmt: skip
