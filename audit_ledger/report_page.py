"""A period's report as one HTML file that prints well: no script, no network, no font but the reader's own.

What is worded here is worded from `report.period_report`; every text of the ledger is escaped.
"""

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Any

from audit_ledger.findings import Finding, Rule
from audit_ledger.words import Words

PURPOSES = {"surveillance": ("surveillance", "监测"), "research": ("research", "研究"), "outbreak": ("outbreak", "疫情应急")}
_HEADS = {
    "asker": ("asker", "提问方"),
    "all": ("all", "合计"),
    "how": ("how queries ended", "结束状态"),
    "queries": ("queries", "问题"),
    "hospital": ("hospital", "医院"),
    "asked": ("asked", "被询问"),
    "answered": ("answered", "已答复"),
    "refused": ("refused", "拒绝"),
    "away": ("away", "缺席"),
    "left_out": ("left out", "未计入"),
    "coverage": ("coverage", "覆盖率"),
    "block": ("block", "时段"),
    "spent": ("spent of budget", "已消耗 / 预算"),
    "share": ("", ""),
    "epsilon": ("ε", "ε"),
    "emergency": ("emergency query", "应急问题"),
    "opened": ("opened", "开启"),
    "due": ("review due", "复核截止"),
    "review": ("review", "复核"),
    "note": ("note", "说明"),
    "query": ("query", "问题"),
    "refused_by": ("refused by", "拒绝方"),
    "reasons": ("reasons", "原因"),
    "stated_by": ("stated by", "声明方"),
    "entry": ("entry", "条目"),
    "broken": ("what it breaks", "违反的规则"),
    "rule": ("rule", "规则代码"),
    **PURPOSES,
}
ENDED = {
    "released": ("released", "已发布"),
    "failed": ("failed or refused", "失败或被拒"),
    "expired": ("expired", "过期"),
    "cancelled": ("cancelled", "已取消"),
    "open": ("still open", "未结束"),
}
_VERDICTS = {"in_order": ("in order", "合规"), "not_in_order": ("not in order", "不合规")}
_BAD = {True: "bad", False: "good"}
WORST = 12  # rows of budget shown for each hospital: the fullest blocks


def page(report: dict[str, Any], words: Words) -> str:
    """The whole file."""
    made = _Page(report, words)
    style = files("audit_ledger").joinpath("report.css").read_text("utf-8")
    title = f"{words.say('Audit report', '审计报告')} · {report['origin']}"
    first = (made.head(), made.tiles(), made.findings(), made.asked(), made.ended(), made.coverage(), made.budget())
    body = "".join([*first, made.reviews(), made.refusals(), made.incidents(), made.foot()])
    language = "zh-CN" if words.is_chinese else "en"
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{style}</style></head><body><main>{body}</main></body></html>\n"
    )


class _Page:
    """Writes each section. A section without rows says so: what is not there was looked for."""

    def __init__(self, report: dict[str, Any], words: Words) -> None:
        self._report, self._words, self._say = report, words, words.say

    def head(self) -> str:
        since, until = self._report["since"][:10], self._report["until"][:10]
        first = since or self._say("the beginning", "建账")
        last = self._say("the end", "账末") if until == "9999" else until
        period = self._say(f"Queries stated from {first} to {last}", f"提出于 {first} 至 {last} 的问题")
        title = self._say("Audit report", "审计报告")
        return f"<header><p>{escape(self._report['origin'])}</p><h1>{title}</h1><p>{escape(period)}</p></header>"

    def tiles(self) -> str:
        overdue = sum(each["is_overdue"] for each in self._report["reviews"])
        broken = len(self._report["findings"])
        rows = [
            (self._say("rules broken", "违规"), broken, broken > 0),
            (self._say("queries", "问题"), len(self._report["queries"]), False),
            (self._say("released", "已发布"), self._report["ended"].get("released", 0), False),
            (self._say("hospitals", "医院"), len(self._report["coverage"]), False),
            (self._say("refusals", "拒绝"), len(self._report["refusals"]), False),
            (self._say("incidents", "事件"), len(self._report["incidents"]), bool(self._report["incidents"])),
            (self._say("reviews overdue", "逾期复核"), overdue, overdue > 0),
        ]
        told = "".join(
            f'<div class="{"bad" if bad else ""}"><b>{number}</b><span>{name}</span></div>' for name, number, bad in rows
        )
        return f'<section class="tiles">{told}</section>'

    def findings(self) -> str:
        found = [Finding(each["entry"], Rule(each["rule"]), each["detail"]) for each in self._report["findings"]]
        rows = [[each.index, self._words.finding(each), str(each.rule)] for each in found]
        title = self._say("Rules broken in this ledger", "账本中的违规")
        none = self._say("None: every entry was verified and replayed.", "无：全部条目均已核验与重放。")
        return self._section(title, ("entry", "broken", "rule"), rows, none=none)

    def asked(self) -> str:
        asked = self._report["queries_by_asker"]
        rows = [[uri, *(counts[each] for each in PURPOSES), sum(counts.values())] for uri, counts in asked.items()]
        return self._section(self._say("Who asked, and why", "提问方与目的"), ("asker", *PURPOSES, "all"), rows)

    def ended(self) -> str:
        rows = [[self._say(*ENDED[name]), number] for name, number in self._report["ended"].items()]
        return self._section(self._say("How they ended", "结束情况"), ("how", "queries"), rows)

    def coverage(self) -> str:
        names = ("hospital", "asked", "answered", "refused", "away", "left_out")
        rows = [[*(each[name] for name in names), _share(each)] for each in self._report["coverage"]]
        return self._section(self._say("Coverage", "覆盖情况"), (*names, "coverage"), rows)

    def budget(self) -> str:
        rows = [row for uri, blocks in self._report["epsilon"].items() for row in self._blocks(uri, blocks)]
        title = self._say("Privacy spent, by hospital and block", "各医院各时段的隐私消耗")
        note = self._say(
            "Totals at the ledger's end, all purposes: the Rényi charge at order 8, and the ε at δ = 10⁻⁶ it bounds for one"
            " patient (a loose bound while little is spent; a spent budget is ε = 3).",
            "账末累计，各目的合计：8 阶 Rényi 消耗，及其保证的单个患者 ε 上界（δ = 10⁻⁶；消耗少时偏松，用尽即 ε = 3）。",
        )
        return self._section(title, ("hospital", "block", "spent", "share", "epsilon"), rows, note)

    def _blocks(self, uri: str, blocks: dict[str, dict[str, str]]) -> Iterator[list[Any]]:
        fullest = sorted(blocks.items(), key=lambda each: float(each[1]["spent"]), reverse=True)
        for block, each in fullest[:WORST]:
            yield [uri, block, f"{each['spent']} / {each['budget']}", _bar(each), each["epsilon"]]
        if (more := len(fullest) - WORST) > 0:
            yield [uri, self._say(f"{more} more blocks, less spent", f"另有 {more} 个消耗更少的时段"), "", "", ""]

    def reviews(self) -> str:
        reviews = self._report["reviews"]
        rows = [[_short(each["query"]), each["opened"], each["due"], self._verdict(each), each["note"]] for each in reviews]
        title = self._say("Emergencies and their reviews", "应急提问与复核")
        return self._section(title, ("emergency", "opened", "due", "review", "note"), rows)

    def refusals(self) -> str:
        refusals = self._report["refusals"]
        rows = [[_short(each["query"]), each["by"], ", ".join(each["codes"]), each["entry"]] for each in refusals]
        return self._section(self._say("Refusals", "拒绝"), ("query", "refused_by", "reasons", "entry"), rows)

    def incidents(self) -> str:
        rows = [[_short(each["query"]), each["by"], each["entry"]] for each in self._report["incidents"]]
        return self._section(self._say("Incidents", "事件"), ("query", "stated_by", "entry"), rows)

    def foot(self) -> str:
        size, made = self._report["size"], self._report["made_at"]
        said = self._say(
            f"Made {made} from the {size} entries of the ledger, all of them read and verified. Root of its tree:",
            f"生成于 {made}，依据逐条读取并核验的 {size} 条账本。树根：",
        )
        return f"<footer><p>{said}<br><code>{self._report['root']}</code></p></footer>"

    def _verdict(self, review: dict[str, Any]) -> str:
        if review["verdict"] is None:
            return (
                _Markup(f"<strong>{self._say('OVERDUE', '已逾期')}</strong>")
                if review["is_overdue"]
                else self._say("waiting", "待复核")
            )
        late = self._say(", late", "（逾期完成）") if review["was_late"] else ""
        return self._say(*_VERDICTS[review["verdict"]]) + late

    def _section(self, title: str, head: tuple[str, ...], rows: list[list[Any]], note: str = "", none: str = "") -> str:
        told = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
        heads = "".join(f"<th>{escape(self._say(*_HEADS[each]))}</th>" for each in head)
        none = none or self._say("None in this period.", "本时段无。")
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{told}</tbody></table>" if rows else f"<p>{none}</p>"
        return f"<section><h2>{escape(title)}</h2>{f'<p>{escape(note)}</p>' if note else ''}{table}</section>"


class _Markup(str):
    """Markup of our own making; everything else in a cell is escaped."""


def _cell(value: Any) -> str:
    if isinstance(value, _Markup):
        return f"<td>{value}</td>"
    kind = ' class="number"' if isinstance(value, int) else ""
    return f"<td{kind}>{escape(str(value))}</td>"


def _bar(each: dict[str, str]) -> _Markup:
    budget = float(each["budget"])
    share = min(1.0, float(each["spent"]) / budget) if budget else 1.0
    return _Markup(f'<span class="bar"><i style="width:{share:.0%}"></i></span> {share:.0%}')


def _share(each: dict[str, int]) -> str:
    return f"{each['answered'] / each['asked']:.0%}" if each["asked"] else "–"


def _short(id_: str) -> str:
    return f"{id_[:16]}…"
