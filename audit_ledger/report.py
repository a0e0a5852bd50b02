"""What a period's report says of a verified ledger, as plain data: `report_page` prints it, `audit_event` exports it.

Queries are those stated in [since, until). Totals of privacy are those at the ledger's end, since budgets run on; broken rules are
those of the whole ledger.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from audit_ledger.findings import Finding
from audit_ledger.view import LedgerView, QuestionFacts
from protocols.clock import stamp, unix
from protocols.contract import CONTRACT, PURPOSES

COLUMNS = ("query", "entry", "at", "by", "purpose", "readys", "openings", "receipts", "price", "release", "ended")


def period_report(
    view: LedgerView, since: str = "", until: str = "9999", now: int = 0, findings: Sequence[Finding] = ()
) -> dict[str, Any]:
    """Counts and lists that a machine reads. `now` decides which reviews are overdue."""
    asked = [(id_, facts) for id_, facts in view.questions.items() if since <= facts.query.at < until]
    return {
        "origin": view.authority.origin,
        "size": view.size,
        "root": view.range.root().hex(),
        "made_at": stamp(now),
        "since": since,
        "until": until,
        "findings": [{"entry": each.index, "rule": str(each.rule), "detail": each.detail} for each in findings],
        "queries_by_purpose": dict(sorted(Counter(facts.query.purpose for _, facts in asked).items())),
        "queries_by_asker": _by_asker(asked),
        "ended": dict(sorted(Counter(_ended(facts) for _, facts in asked).items())),
        "spent": _spent(view),
        "epsilon": _epsilon(view),
        "coverage": _coverage(view, asked),
        "refusals": [_refusal(id_, uri, facts) for id_, facts in asked for uri in sorted(facts.refusals)],
        "reviews": [_review(view, id_, now) for id_, facts in asked if id_ in view.emergencies],
        "incidents": [{"query": id_, "entry": index, "by": by} for id_, facts in asked for index, by in facts.incidents],
        "queries": [_query(id_, facts) for id_, facts in asked],
    }


def as_csv(report: dict[str, Any]) -> str:
    """One row a query, for a spreadsheet."""
    text = io.StringIO()
    rows = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for each in report["queries"]:
        rows.writerow({**each, "openings": " ".join(map(str, each["openings"])), "price": " ".join(each["price"])})
    return text.getvalue()


def _by_asker(asked: list[tuple[str, QuestionFacts]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for _, facts in asked:
        purposes = found.setdefault(facts.query.by, dict.fromkeys(PURPOSES, 0))
        purposes[facts.query.purpose] += 1
    return dict(sorted(found.items()))


def _ended(facts: QuestionFacts) -> str:
    return facts.release[1].status if facts.release else "open"


def _spent(view: LedgerView) -> dict[str, dict[str, dict[str, str]]]:
    """hospital -> purpose -> block -> running total of its Readys."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for uri, account in sorted(view.accounts.items()):
        for (purpose, block), total in sorted(account.totals.items()):
            found.setdefault(uri, {}).setdefault(purpose, {})[block] = f"{total:.9f}"
    return found


def _epsilon(view: LedgerView) -> dict[str, dict[str, dict[str, str]]]:
    """hospital -> block -> what all purposes together have cost a patient: the Rényi total, of the budget, and as ε at δ."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for uri, account in sorted(view.accounts.items()):
        policy, totals = view.policies.get(uri), dict[str, Decimal]()
        for (_, block), total in account.totals.items():
            totals[block] = totals.get(block, Decimal(0)) + total
        budget = sum((Decimal(each) for each in policy.limits.values()), Decimal(0)) if policy else Decimal(0)
        for block, whole in sorted(totals.items()):
            told = {"spent": f"{whole:.9f}", "budget": f"{budget:.9f}", "epsilon": f"{epsilon_of(float(whole)):.4f}"}
            found.setdefault(uri, {})[block] = told
    return found


def epsilon_of(spent: float) -> float:
    """A running total at the contract's order, as ε at its δ (Canonne, Kamath, Steinke 2020, Proposition 12)."""
    order, delta = CONTRACT.order, CONTRACT.delta
    return max(0.0, spent + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)) if spent else 0.0


def _coverage(view: LedgerView, asked: list[tuple[str, QuestionFacts]]) -> list[dict[str, Any]]:
    """How each hospital took part in the queries that ended; one that was admitted and never asked is named too."""
    found = {uri: {"asked": 0, "answered": 0, "refused": 0, "away": 0, "left_out": 0} for uri in view.authority.hospitals()}
    for _, facts in asked:
        if facts.release is None or not _was_offered(facts):
            continue
        for uri in facts.query.audience:
            row = found.setdefault(uri, {"asked": 0, "answered": 0, "refused": 0, "away": 0, "left_out": 0})
            row["asked"] += 1
            for name in ("answered", "refused", "away", "left_out"):
                row[name] += uri in getattr(facts.release[1], name)
    return [{"hospital": uri, **row} for uri, row in sorted(found.items())]


def _was_offered(facts: QuestionFacts) -> bool:
    """Whether a hospital said anything to it; what the auditor turned down before is nobody's absence."""
    return bool(facts.readys) or not facts.refusals.keys().isdisjoint(facts.query.audience)


def _refusal(id_: str, uri: str, facts: QuestionFacts) -> dict[str, Any]:
    index, refused = facts.refusals[uri]
    return {"query": id_, "entry": index, "at": refused.at, "by": uri, "codes": [each.code for each in refused.reasons]}


def _review(view: LedgerView, id_: str, now: int) -> dict[str, Any]:
    due, reviewed = view.review_due(id_), view.reviews.get(id_)
    return {
        "query": id_,
        "opened": stamp(view.emergencies[id_]),
        "due": stamp(due),
        "entry": reviewed[0] if reviewed else None,
        "verdict": reviewed[1].verdict if reviewed else None,
        "note": reviewed[1].note if reviewed else "",
        "is_overdue": reviewed is None and due <= now,
        "was_late": reviewed is not None and unix(reviewed[1].at) > due,
    }


def _query(id_: str, facts: QuestionFacts) -> dict[str, Any]:
    prices = {each.statement.charge.price for each in facts.readys.values()}
    return {
        "query": id_,
        "entry": facts.index,
        "by": facts.query.by,
        "purpose": facts.query.purpose,
        "at": facts.query.at,
        "readys": len(facts.readys),
        "openings": sorted({each[0] for each in facts.openings.values()}),
        "receipts": len(facts.receipts),
        "price": sorted(prices),
        "release": facts.release[0] if facts.release else None,
        "ended": _ended(facts),
    }
