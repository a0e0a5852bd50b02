"""What a question for residents is, and what every party may know of its vector before anybody counts.

Rules
- A question asks for residents if one of its measures does, by the signed spec alone: hospitals then seal their seeds for a zero
  test and nothing else, so that no opener that does not know of one can open the sum.
- A policy states, among its tables, for which of them the hospital answers such a question, and under which residents' key: all
  hospitals of a member set state the same, or one resident would fall into several buckets of a cell.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

MEASURE = "count_distinct_resident"
MAX_ENTRIES = 131_072
"""Of one question, noise slots included: about a minute and a half of work for auditor and coordinator together."""
MAX_VARIANCE = Fraction(4_096)
"""Of each side: more noise needs more slots than it hides people."""
_SHOWN = 32


def asks_for_residents(spec: Mapping[str, Any]) -> bool:
    measures = spec.get("measures")
    return isinstance(measures, list) and any(isinstance(each, dict) and each.get("kind") == MEASURE for each in measures)


def permission(table: str, fingerprint: str) -> str:
    """How a policy states that it answers questions for residents over this table. `fingerprint` is that of the residents' key."""
    return f"residents:{table}:{fingerprint[:_SHOWN]}"


def permitted(stated: tuple[str, ...], table: str) -> str | None:
    """The permission for this table among a policy's stated tables; None where there is none, or more than one."""
    found = [each for each in stated if each.startswith(f"residents:{table}:")]
    return found[0] if len(found) == 1 else None
