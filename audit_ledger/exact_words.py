"""How an exact question is put before the auditor: never to be taken for a private one, with what it would be compared with.

No price and no epsilon: there is none to state. What stands instead is everything the rules of `exact` judge by.
"""

from collections.abc import Callable
from typing import Any

from audit_ledger import exact
from audit_ledger.view import LedgerView
from protocols.asked import Asked
from protocols.clock import stamp
from protocols.contract import CONTRACT

Say = Callable[[str, str], str]


def warning(say: Say) -> str:
    return say(
        "EXACT MODE: the answer will NOT be private. No noise: whoever reads it reads true sums, and a small cell is a patient",
        "精确模式：答案不具有隐私保护。不加噪声：看到答案即看到真实总和，小单元格就是某位患者",
    )


def details(view: LedgerView, asked: Asked, now: int) -> dict[str, Any]:
    """For machines: mode and privacy said outright, and the earlier exact answers over the same records."""
    query, month = asked.query, stamp(now)[:7]
    id_ = query.envelope().statement_id().hex()
    facts = view.questions[id_]
    earlier = exact.earlier_exact(view, id_, asked.table, frozenset(asked.blocks))
    willing = [uri for uri in query.audience if exact.permits(view, uri, asked.table)]
    return {
        "mode": "exact",
        "private": False,
        "audience": list(query.audience),
        "floor": query.floor,
        "valid_until": query.valid_until,
        "blocks": list(asked.blocks),
        "cells": asked.dimension,
        "rounds": query.rounds,
        "willing": willing,
        "unwilling": sorted(set(query.audience) - set(willing)),
        "earlier_exact": [
            {"entry": e.index, "query": e.query, "month": e.month, "differs_by": sorted(e.audience ^ set(query.audience))}
            for e in earlier
        ],
        "this_month": {uri: len(exact.of_month(view, facts, uri, month)) for uri in query.audience},
    }


def lines(more: dict[str, Any], say: Say) -> list[str]:
    asked, cells, blocks = len(more["audience"]), more["cells"], len(more["blocks"])
    willing, unwilling, fullest = len(more["willing"]), ", ".join(more["unwilling"]), max(more["this_month"].values(), default=0)
    told = [
        say(
            f"{cells} numbers over {blocks} blocks, {more['rounds']} rounds; no budget is charged",
            f"{blocks} 个区块上的 {cells} 个数，{more['rounds']} 轮；不扣隐私预算",
        ),
        say(f"asks {asked} hospitals, every one or none: ", f"询问 {asked} 家医院，须全部参加：") + ", ".join(more["audience"]),
        say(f"policies of {willing} of {asked} allow it", f"{willing} / {asked} 家的政策允许精确模式")
        + (say(f"; not of {unwilling}", f"；不允许：{unwilling}") if unwilling else ""),
        say(
            f"exact answers over this table this month: {fullest} of at most {CONTRACT.exact_a_month}",
            f"本月此表已有精确答案 {fullest} 次，至多 {CONTRACT.exact_a_month} 次",
        ),
    ]
    return [*told, *(_earlier(each, say) for each in more["earlier_exact"])]


def _earlier(each: dict[str, Any], say: Say) -> str:
    entry, query = each["entry"], f"{each['query'][:16]}…"
    difference = ", ".join(each["differs_by"]) or say("the same hospitals", "医院相同")
    return say(
        f"COMPARE: an exact answer over these records was opened (entry {entry}, {query}); audience differs by: {difference}",
        f"请对照：同一数据已开启过精确答案（第 {entry} 条，{query}）；受询医院差异：{difference}",
    )
