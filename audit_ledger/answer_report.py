"""What the check of one answer file found, as people and machines read it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from audit_ledger.errors import Malformed

PRIVATE = "private"


class NotAnAnswer(Malformed):
    """The file is no answer bundle of this version."""

    code = "ledger.malformed_answer"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the bundle that does not hold: where, and what was expected."""

    place: str
    what: str


class NotShown(StrEnum):
    """What a bundle alone cannot show."""

    IN_BETWEEN = "in_between"
    EXACT = "exact"
    UNSIGNED = "unsigned"
    ONE_HISTORY = "one_history"
    REDERIVED = "rederived"
    RESIDENTS = "residents"


@dataclass(slots=True)
class AnswerReport:
    """Verified if `problems` is empty. `not_shown` is what only the ledger itself, or its operator, can show."""

    query: str = ""
    mode: str = PRIVATE
    size: int = 0
    is_sum: bool = True
    problems: list[Problem] = field(default_factory=list)
    not_shown: list[tuple[NotShown, str]] = field(default_factory=list)
    card: dict[str, Any] | None = None
    """Of a training: its model card, compared with the released integers."""

    @property
    def is_verified(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": "verified" if self.is_verified else "evidence",
            "query": self.query,
            "mode": self.mode,
            "private": self.mode == PRIVATE,
            "size": self.size,
            "problems": [{"place": each.place, "what": each.what} for each in self.problems],
            "not_shown": [" ".join(filter(None, each)) for each in self.not_shown],
            **({"card": self.card} if self.card else {}),
        }
