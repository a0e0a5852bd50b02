"""`status`, `questions`: what IT may look at, from the node's own folder, also while `run` is at work."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from audit_ledger.party.home import Home
from audit_ledger.view import LedgerView
from hospital_node.asked_before import AskedBefore
from hospital_node.commands import DEFAULT_HOME, HomeOption, JsonOption, LangOption, failures, say, show
from hospital_node.config import Config
from hospital_node.journal import JOURNAL_FILE, Journal, StoredQuestion
from hospital_node.ledger_at_hand import followed
from hospital_node.policy import read_policy
from hospital_node.records.generations import generation_in_force
from hospital_node.records.report_text import Lang
from protocols.asked import Asked
from protocols.clock import stamp
from protocols.errors import ProtocolError
from protocols.exact import EXACT, is_exact
from protocols.fits.words import fit_in_words
from protocols.identity import fingerprint
from protocols.query import QueryError, QuerySpec
from protocols.query.words import Language, in_words
from protocols.statements import Query


@contextmanager
def opened(home: Path) -> Iterator[Journal]:
    """The journal beside a running node."""
    journal = Journal(home / JOURNAL_FILE)
    try:
        yield journal
    finally:
        journal.close()


def status(lang: LangOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Who this node is, how far it has followed the ledger, whether it answers. 节点状态。"""
    with failures(as_json):
        place, config = Home(home.expanduser()), Config.read(home.expanduser())
        with opened(place.path) as journal:
            found = _status(place, config, journal)
        table = Table(show_header=False, box=None)
        table.add_column()
        table.add_column(overflow="fold")
        for name, value in found.items():
            table.add_row(say(lang, *_STATUS_WORDS[name]), _told(value, lang))
        show(found, as_json, table)


def _told(value: object, lang: Lang) -> str:
    if isinstance(value, bool):
        return say(lang, "yes", "是") if value else say(lang, "no", "否")
    return "–" if value is None else str(value)


_STATUS_WORDS = {
    "uri": ("node", "节点"),
    "fingerprint": ("fingerprint", "指纹"),
    "admitted": ("admitted by the auditor", "审计方已准入"),
    "followed": ("ledger entries followed", "已跟随账本条目"),
    "paused": ("paused", "已暂停"),
    "behind_ledger": ("journal behind the ledger", "日志落后于账本"),
    "generation": ("records in force", "当前数据"),
    "questions": ("questions that came", "收到的查询"),
    "unsent": ("statements to send", "待发送声明"),
    "peers": ("accepted peers", "已接受的医院"),
    "questions_kept_ready": ("questions whose months are kept ready", "保持备好月份的查询"),
    "months_kept_ready": ("their months", "其月份数"),
    "ready_after_s": ("ready so many seconds after a start or an import", "启动或导入后多少秒备好"),
}


def _status(place: Home, config: Config, journal: Journal) -> dict[str, object]:
    follower = followed(place, journal) if place.has("trust.policy") else None
    account = follower.view.accounts.get(config.uri) if follower else None
    return {
        "uri": config.uri,
        "fingerprint": fingerprint(place.key("identity").public),
        "admitted": bool(follower and follower.view.authority.active(config.uri)),
        "followed": follower.size if follower else 0,
        "paused": journal.note("paused"),
        "behind_ledger": bool(account and account.sequence > journal.last_sequence()),
        "generation": generation_in_force(place.path / "records"),
        "questions": len(journal.questions()),
        "unsent": len(journal.outbox()),
        "peers": len(read_policy(place.path).peers),
        **_kept_ready(config, follower.view if follower else None),
    }


def _kept_ready(config: Config, view: LedgerView | None) -> dict[str, int | None]:
    """By the ledger alone, as the running node decides it; nothing where IT has stated no slot for them."""
    before = AskedBefore(config.uri, config.size_class)
    if view is not None and config.prepared_slot_ms is not None:
        before.read(view.questions)
    shapes = before.shapes.values()
    return {
        "questions_kept_ready": len(shapes),
        "months_kept_ready": sum(len(each.months) for each in shapes),
        "ready_after_s": before.settle_s(config.slot_of_tables_ms) if config.prepared_slot_ms is not None else None,
    }


def questions(lang: LangOption, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Every question that came: in words, what it cost, how it ended here. 收到的所有查询。"""
    with failures(as_json):
        place = Home(home.expanduser())
        Config.read(place.path)
        with opened(place.path) as journal:
            view, asked = followed(place, journal).view, journal.questions()
        rows = [_question_row(view, each, lang) for each in asked]
        lines = [_question_lines(row, lang) for row in rows]
        show(rows, as_json, "\n\n".join(lines) or say(lang, "no question has come yet", "尚未收到查询"))


_OUTCOMES = {"ready": "就绪", "refused": "已拒绝"}


def _question_lines(row: dict[str, object], lang: Lang) -> str:
    """Not a table: the question in words is long, and stands best as it is."""
    told = say(lang, "EXACT MODE, not private", "精确模式，不具有隐私保护") if row["mode"] == EXACT else ""
    outcome = str(row["outcome"])
    ended = " ".join((say(lang, outcome, _OUTCOMES.get(outcome, outcome)), *_strings(row["reasons"])))
    return "\n".join(
        (
            f"{row['at']}  {row['query']}  {told}".rstrip(),
            f"{row['asker'] or '–'}  {say(lang, 'price', '代价')} {row['price']}  {say(lang, 'here: ', '本院：')}{ended}",
            *(f"  {line}" for line in str(row["words"]).splitlines()),
        )
    )


def _question_row(view: LedgerView, asked: StoredQuestion, lang: Lang) -> dict[str, object]:
    facts = view.questions.get(asked.query)
    row: dict[str, object] = {**asdict(asked), "at": stamp(asked.at), "asker": "", "purpose": "", "words": "", "ended": None}
    row["mode"] = ""
    if facts is None:
        return row
    words = _words(facts.query, lang)
    ended = facts.release[1].status if facts.release else None
    mode = EXACT if is_exact(facts.query.spec) else "private"
    return {**row, "asker": facts.query.by, "purpose": facts.query.purpose, "words": words, "ended": ended, "mode": mode}


def _words(query: Query, lang: Lang) -> str:
    try:
        asked = Asked.of(query)
    except (ProtocolError, QueryError):
        return say(lang, "not a question this version can read", "本版本无法解读")
    spec = asked.spec
    if isinstance(spec, QuerySpec):
        return in_words(spec, Language(lang.value), is_exact=asked.is_exact)
    return fit_in_words(spec, query.rounds, Language(lang.value))


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, tuple) else ()
