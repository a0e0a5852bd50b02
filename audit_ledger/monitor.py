"""The monitor: verifies a log again and again from its mirror, and says in a code what has to be looked at.

Alerts, and the exit code of a single round
- 1, evidence: a broken rule (`findings`), or what `verify` calls evidence (a fork, a rewritten entry, a bad signature);
- 3, could not check: the log cannot be read (`ledger.unavailable`), or no quorum vouched for it for too long (`ledger.stale`);
- 0, nothing: verified up to the newest checkpoint.
"""

from dataclasses import dataclass
from typing import Any

from audit_ledger.errors import LedgerError, StaleCheckpoint
from audit_ledger.policy import TrustFile
from audit_ledger.replay import Progress
from audit_ledger.verify import Audit, LedgerReport, verify_ledger
from protocols.clock import stamp


@dataclass(frozen=True, slots=True)
class Round:
    """What one round saw. `report` is None where the log could not be read."""

    at: int
    report: LedgerReport | None
    problem: LedgerError | None = None

    @property
    def alert(self) -> str | None:
        """The code of the first thing to look at."""
        report = self.report
        if report is not None and report.broken is not None:
            return report.broken.code
        if report is not None and report.findings:
            return str(report.findings[0].rule)
        return self.problem.code if self.problem else None

    @property
    def exit_code(self) -> int:
        if self.report is not None and not self.report.is_verified:
            return 1
        return 3 if self.problem else 0

    def to_json(self) -> dict[str, Any]:
        found = self.report.to_json() if self.report else {}
        message = str(self.problem) if self.problem else None
        return {"at": stamp(self.at), "alert": self.alert, "exit_code": self.exit_code, "problem": message, **found}


@dataclass(frozen=True, slots=True)
class Watch:
    """One log, one mirror."""

    target: str
    trust: TrustFile
    audit: Audit
    stale_after_s: int

    def once(self, now: int, progress: Progress = lambda *_: None) -> Round:
        """Raises no LedgerError: what could not be checked is in the round."""
        try:
            report = verify_ledger(self.target, self.trust, now, progress, self.audit)
        except LedgerError as problem:
            return Round(now, None, problem)
        newest = report.witnessed or 0
        if report.broken is None and newest < now - self.stale_after_s:
            return Round(now, report, StaleCheckpoint(f"last cosigned at {stamp(newest)}"))
        return Round(now, report)
