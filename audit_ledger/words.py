"""Sentences for people, in English and Chinese, made from codes. Nothing else in this package words a finding.

A new `findings.Rule` needs a line here (a test counts them).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit_ledger.answer_report import NotShown
from audit_ledger.findings import Finding, Rule
from audit_ledger.party.home_words import in_chinese


@dataclass(frozen=True, slots=True)
class Words:
    """Picks a language once; `say` takes both."""

    is_chinese: bool

    def say(self, english: str, chinese: str) -> str:
        return chinese if self.is_chinese else english

    def rule(self, rule: Rule) -> str:
        return self.say(*_RULES[rule])

    def finding(self, found: Finding) -> str:
        detail = self.say(f" ({found.detail})", f"（{found.detail}）") if found.detail else ""
        return self.say(f"entry {found.index}: {self.rule(found.rule)}", f"第 {found.index} 条：{self.rule(found.rule)}") + detail

    def error(self, code: str, message: str) -> str:
        """What went wrong, by its code; the particulars stand as the library says them."""
        headline = _ERRORS.get(code) if self.is_chinese else None
        message = in_chinese(message) if self.is_chinese and code == "home" else message
        return f"{headline}：{message}  [{code}]" if headline else f"{message}  [{code}]"

    def not_shown(self, what: NotShown, detail: str = "") -> str:
        return self.say(*_NOT_SHOWN[what]).format(detail)


def words(arguments: Sequence[str], environment: Mapping[str, str]) -> Words:
    """From `--lang zh`, else from LC_ALL, LC_MESSAGES or LANG. English where nothing says otherwise."""
    for at, each in enumerate(arguments):
        if each == "--lang" and at + 1 < len(arguments):
            return Words(arguments[at + 1].lower().startswith("zh"))
        if each.startswith("--lang="):
            return Words(each.removeprefix("--lang=").lower().startswith("zh"))
    named = next((environment[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environment.get(name)), "")
    return Words(named.lower().startswith("zh"))


_RULES: dict[Rule, tuple[str, str]] = {
    Rule.MALFORMED: ("is not a statement in its one spelling", "不是规范写法的声明"),
    Rule.ROOT: ("is not the pinned entry 0", "不是信任文件所固定的首条"),
    Rule.SIGNATURE: ("lacks a signature that counts", "缺少有效签名"),
    Rule.ROLE: ("is stated by a party without that role", "声明方没有这一角色"),
    Rule.POSSESSION: ("adds a key whose possession is not proved", "未证明持有所添加的密钥"),
    Rule.LICENCE: ("admits without a legal identity of its own", "准入时没有独有的法人身份与许可证"),
    Rule.KEY_REUSED: ("uses one key twice", "同一密钥被重复使用"),
    Rule.KEY_UNKNOWN: ("revokes a key that is not active", "撤销的密钥并不在用"),
    Rule.WRONG_LOG: ("is for another log", "属于另一本账"),
    Rule.DUPLICATE: ("repeats what is logged already", "重复了已入账的内容"),
    Rule.CLOSED: ("stands behind the close of the log", "出现在关账之后"),
    Rule.TARGET_UNKNOWN: ("refers to something that is not logged", "所指对象不在账中"),
    Rule.AUDIENCE: ("asks hospitals that are not admitted", "询问了未准入的医院"),
    Rule.PURPOSE: ("has no programme of its asker and purpose", "没有该提问方该目的的方案"),
    Rule.VALIDITY: ("is valid for longer than allowed", "有效期超过规定"),
    Rule.APPROVAL_MISSING: ("was answered without an approval in force", "没有有效批准"),
    Rule.REGISTRATION: (
        "names or charges a static block that is another table's, too new, or not approved by the auditor",
        "涉及的静态区块属于其他数据表、更换过早，或未经审计方批准",
    ),
    Rule.APPROVERS: ("is signed by fewer approvers than the auditor's rule demands", "批准人少于审计方规定的人数"),
    Rule.BREAK_GLASS: ("is asked for an emergency by a routine asker, or the reverse", "应急与日常的提问方混用"),
    Rule.OUTBREAK: (
        "opens for an emergency above the day's number, or with a review overdue",
        "应急开启超过当日次数，或有逾期未复核",
    ),
    Rule.RESIDENTS: (
        "charged for a count of residents that its stated policy does not permit",
        "未在其政策声明中允许按居民计数，却已就绪",
    ),
    Rule.EXACT: ("breaks a rule of exact mode, or mixes it with private answers", "违反精确模式的规则，或与隐私答案混用"),
    Rule.MODEL: ("misstates the training that it is of", "与所述训练不符"),
    Rule.SEQUENCE: ("does not continue its hospital's sequence", "与该医院的序号不连续"),
    Rule.TOTALS: ("does not continue its hospital's running totals", "与该医院的累计消耗不衔接"),
    Rule.OVERSPENT: ("spends more than the policy allows", "消耗超过政策上限"),
    Rule.PRICE: ("charges another price than its question costs", "收取的价格与该问题应付的不符"),
    Rule.BLOCKS: ("charges other blocks than its question reads", "计费的区块与该问题读取的不符"),
    Rule.BLOCK_PRICE: (
        "charges a block of a weighted question another price than its weight has",
        "对加权问题中某区块收取的价格与其权重应付的不符",
    ),
    Rule.AGREEMENT: ("has no certified agreement key", "协商密钥未经认证"),
    Rule.SEALING: ("names a sealing key that the auditor did not sign", "封装密钥未经审计方签名"),
    Rule.FORKED: ("saw another history of this log", "所见的账与本账历史不符"),
    Rule.BINDING: ("opens under a binding that does not fit", "开启时的绑定值不符"),
    Rule.MEMBER: ("opens for a set whose Readys do not stand before it", "开启的成员未先声明就绪"),
    Rule.OPENED_TWICE: ("opens what was opened or ended before", "重复开启，或在结束后开启"),
    Rule.WINDOW: ("opens after the window closed", "在时限之后开启"),
    Rule.HELD: ("opens while the auditor held", "在审计方暂停期间开启"),
    Rule.RECEIPT: ("is a receipt under another binding", "回执的绑定值不符"),
    Rule.RECEIPT_TWICE: ("is a second receipt", "重复的回执"),
    Rule.RELEASE: ("releases under a binding that was not opened", "发布时的绑定值未经开启"),
    Rule.RELEASE_TWICE: ("ends a query that had ended", "重复结束同一问题"),
    Rule.VECTOR_DIFFERS: ("signs another masked vector than the one kept", "所签掩码向量与留存的不符"),
    Rule.SUM_DIFFERS: ("states another sum than the one kept", "所述的和与留存的不符"),
    Rule.NOT_THE_SUM: ("is not the sum that its receipts and opening commit to", "不是回执与开启所承诺的和"),
    Rule.RECEIPT_LATE: ("is a receipt dated after its window closed", "回执的日期晚于时限"),
    Rule.RECEIPT_OVERDUE: ("was opened, and receipts never came", "已开启而回执始终未入账"),
    Rule.RELEASE_OVERDUE: ("was opened, and how the question ended was never logged", "已开启而问题的结局始终未入账"),
    Rule.REVIEW_OVERDUE: ("was answered as an emergency, and the auditor's review never came", "应急答复后始终未见审计方复核"),
    Rule.BACKDATED: ("is dated before what it follows", "日期早于其所依据的条目"),
    Rule.POSTDATED: ("is dated after the witness had seen it", "日期晚于见证时间"),
    Rule.RECEIPT_MISSING: ("releases before a member's receipt", "发布时缺少成员回执"),
}

_NOT_SHOWN: dict[NotShown, tuple[str, str]] = {
    NotShown.IN_BETWEEN: (
        "that no key, approval or programme was revoked in between, no hold stood and no other rule: verify the ledger itself",
        "其间没有撤销密钥、批准或方案，没有暂停，也未违反其他规则：请核验账本本身",
    ),
    NotShown.EXACT: (
        "that each hospital's policy permits exact mode, and which exact answers came before: verify the ledger itself",
        "各医院政策是否允许精确模式、此前有过哪些精确答案：请核验账本本身",
    ),
    NotShown.UNSIGNED: (
        "half_widths beyond a plausibility check, spending and coverage.incomplete: no statement of the bundle signs them",
        "half_widths（仅作合理性检查）、spending 与 coverage.incomplete：文件中没有声明为其签名",
    ),
    NotShown.ONE_HISTORY: (
        "that its checkpoints of sizes {} are of one history",
        "其中 {} 条的各检查点同属一部账",
    ),
    NotShown.REDERIVED: (
        "release not re-derived: its vectors or the opened sum are gone, or it is a training's or a count of residents",
        "发布未重算：向量或开启的和已不在，或属于训练或居民计数",
    ),
    NotShown.RESIDENTS: (
        "that the numbers are the count of the opened entries: nobody but the coordinator can count them",
        "所列数值是否为开启条目的计数：除协调方外无人可数",
    ),
}

_ERRORS: dict[str, str] = {
    "ledger.malformed": "文件或数据的写法不符合规范",
    "ledger.malformed_note": "签名文本的写法不符合规范",
    "ledger.malformed_checkpoint": "检查点的写法不符合规范",
    "ledger.malformed_proof": "证明的写法不符合规范",
    "ledger.malformed_policy": "信任文件有误",
    "ledger.malformed_tile": "账本文件的写法不符合规范",
    "ledger.malformed_answer": "不是本版本的答案文件",
    "ledger.tampering": "发现篡改证据",
    "ledger.signature": "签名不成立",
    "ledger.proof": "证明推不出所称的树根",
    "ledger.tree_mismatch": "账本内容与已签名的树根不符",
    "ledger.split_view": "账本分叉：同一账本签署了两部历史",
    "ledger.damaged": "账本数据库已损坏或被改动",
    "ledger.rolled_back": "账本退回了旧状态",
    "ledger.untrusted": "不足以采信",
    "ledger.unknown_log": "不是信任文件所列账本签署的",
    "ledger.not_successor": "不是上一期账本的后继",
    "ledger.no_past": "须连同之前各期账本核验",
    "ledger.no_quorum": "见证方人数不足",
    "ledger.stale": "见证时间过旧",
    "ledger.unavailable": "无法读取，未能核验",
    "ledger.locked": "另一个进程正在使用此账本",
    "ledger.stopped": "账本已停止",
    "ledger.wrong_key": "账本密钥不符",
    "ledger.witness_damaged": "见证方的记忆已损坏",
    "ledger.opener_damaged": "开启服务的数据库已损坏",
    "desk.refused": "协调方未入账",
    "desk.request": "此申请不可会签",
}
"""Of the errors that a person meets at this program; what has no line here is told by its code."""
