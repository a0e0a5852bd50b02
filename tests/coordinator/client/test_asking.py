"""The program against a desk over mutual TLS: one exit code each way, and no number before its proof."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import typer

from coordinator.client.city import City, Request
from coordinator.client.desk import State, Step
from coordinator.client.forecast import BySd
from coordinator.client.session import Session, Waiting
from coordinator.client.showing import watching
from coordinator.client.texts import ENGLISH, Say
from protocols import statements as st
from protocols.query import Language, QuerySpec
from protocols.query.sql import parse_sql
from protocols.v1 import link_pb2
from tests.coordinator.client.support.bureau import QUESTION, Bureau

pytestmark = pytest.mark.wire
ASK = ("query", QUESTION, "--programme", "ILI", "--sd", "20")
EXPECTED = [5 * cell + 10 for cell in range(11)]


def _told(capsys: pytest.CaptureFixture[str]) -> Any:
    """What the program printed as JSON; the opener, in this process too, logs before it."""
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_released_answer_is_verified_shown_and_kept(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.answers_in_life()
    assert bureau(*ASK, "--json") == 0
    told = _told(capsys)
    assert [row["measures"]["count"]["value"] for row in told["rows"]] == EXPECTED
    assert [row["keys"]["district"] for row in told["rows"]][:2] == ["440103", "440104"]
    assert told["total"]["count"]["value"] == sum(EXPECTED)
    assert bureau("answers", told["query"][:8], "--json") == 0
    assert _told(capsys) == told
    kept = bureau.home.path / "answers" / f"{told['query']}.json"
    assert json.loads(kept.read_text())["values"] == EXPECTED


FULL = link_pb2.Reason(code="node.disk", expected="2,000 MB free", got="less", subject="kapok://hospital/h05")
OF_ANOTHER = link_pb2.Reason(code="node.paused", subject="kapok://hospital/h01")


def test_why_a_hospital_refused_is_told_beside_the_answer_and_kept(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    """A reason of a hospital that answered, by the bundle, is no reason of its absence and is not shown."""
    bureau.answers_in_life(reasons=[FULL, OF_ANOTHER])
    assert bureau(*ASK, "--json") == 0
    told = _told(capsys)
    reason = {"hospital": FULL.subject, "code": "node.disk", "expected": "2,000 MB free", "got": "less"}
    assert (told["coverage"]["refused"], told["coverage"]["reasons"]) == ([FULL.subject], [reason])
    assert bureau("answers", told["query"][:8], "--json") == 0
    assert _told(capsys) == told
    for lang, words in (
        ("en", ("h05: the hospital's disk is full", "signed statement")),
        ("zh", ("h05", "医院磁盘已满", "签名声明")),
    ):
        assert bureau("answers", told["query"], lang=lang) == 0
        shown = capsys.readouterr().out
        assert all(each in shown for each in (*words, "[node.disk]"))
        assert "node.paused" not in shown
    (bureau.home.path / "reasons" / f"{told['query']}.json").write_bytes(b"[{]")
    assert bureau("answers", told["query"], "--json") == 0, "damaged reasons leave the answer as it is"
    assert "reasons" not in _told(capsys)["coverage"]


def test_the_questions_of_a_home_are_listed_with_what_they_ask(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.answers_in_life()
    assert bureau(*ASK, "--json") == 0
    id_ = _told(capsys)["query"]
    bureau.home.write(f"asked/{'ab' * 32}.json", b"of a newer version")
    for lang, words, is_open in (("en", "By: district", "unanswered"), ("zh", "分组：地区", "未答复")):
        assert bureau("answers", lang=lang) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith(id_[:12])
        assert words in first
        assert is_open not in first
        assert (second[:12], is_open in second) == ("abababababab", True)
    assert bureau("answers", "--json") == 0
    told = _told(capsys)
    assert (told["answers"], told["unanswered"]) == ([id_], ["ab" * 32])
    assert [(each["query"], each["answered"]) for each in told["questions"]] == [(id_, True), ("ab" * 32, False)]
    assert bureau("answers", id_[:12], "--json") == 0, "what is listed is enough to name it"


def test_the_query_that_is_sent_says_what_was_planned(bureau: Bureau) -> None:
    bureau.answers_in_life()
    assert bureau(*ASK, "--hospitals", "h01,h02,h03,h04", "--valid", "2h", "--clamp", "2") == 0
    query = st.parse(bureau.desk.envelopes[0]).statement
    assert isinstance(query, st.Query)
    assert st.parse(bureau.desk.envelopes[0]).envelope.is_signed_by(bureau.city.bureau.public)
    assert query.audience == tuple(f"kapok://hospital/h0{n}" for n in range(1, 5))
    assert (query.purpose, query.programme, query.rounds, query.floor) == ("surveillance", bureau.city.programme, 1, 4)
    assert (query.at, query.valid_until) == ("2026-11-23T08:00:00Z", "2026-11-23T10:00:00Z")
    assert query.variances == ("400.0000",)
    assert QuerySpec.from_json(query.spec).measures[0].hi == 2  # type: ignore[union-attr]


def test_two_questions_never_share_a_nonce(bureau: Bureau) -> None:
    for _ in range(2):
        bureau(*ASK)
    first, second = (st.parse(each).statement for each in bureau.desk.envelopes)
    assert isinstance(first, st.Query)
    assert isinstance(second, st.Query)
    assert first.nonce != second.nonce


def _changed(**fields: Any) -> Any:
    return lambda answer: answer.model_copy(update=fields)


LIES = {
    "another value": _changed(values=(EXPECTED[0] + 1, *EXPECTED[1:])),
    "a value too few": _changed(values=tuple(EXPECTED[:-1])),
    "less noise": _changed(total_variances=("1.0000",)),
    "a narrower interval": _changed(half_widths=(42,)),
    "a lower price": _changed(price="0.000000001"),
    "a lower epsilon": lambda answer: answer.model_copy(
        update={"spending": tuple(each.model_copy(update={"epsilon": "0.001"}) for each in answer.spending)}
    ),
    "no epsilon at all": _changed(spending=()),
    "no receipts": _changed(receipts=()),
    "no approvals": _changed(approvals=()),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_number_of_a_bundle_that_lies_is_shown(bureau: Bureau, lie: str, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.answers_in_life(LIES[lie])
    assert bureau(*ASK) == 1
    told = capsys.readouterr()
    assert "±" not in told.out
    assert "did not verify" in told.err
    assert not list((bureau.home.path / "answers").glob("*.json"))
    assert len(list((bureau.home.path / "answers").glob("*.rejected"))) == 1, "the evidence is kept"


def test_the_answer_to_another_question_is_not_taken_for_this_one(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.answers_in_life()
    assert bureau(*ASK) == 0
    kept = next((bureau.home.path / "answers").glob("*.json")).read_bytes()
    bureau.desk.asked = lambda envelope: [
        link_pb2.Progress(query=st.parse(envelope).id, state="released", answer=kept, is_last=True)
    ]
    capsys.readouterr()
    assert bureau(*ASK) == 1
    assert "answer.another_question" in capsys.readouterr().err


def test_a_stored_answer_that_was_changed_is_not_shown_again(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.answers_in_life()
    bureau(*ASK)
    kept = next((bureau.home.path / "answers").glob("*.json"))
    kept.write_text(kept.read_text().replace('"values":[10,', '"values":[11,'))
    capsys.readouterr()
    assert bureau("answers", kept.stem[:6]) == 1
    assert "±" not in capsys.readouterr().out


def test_a_refusal_names_every_reason_in_the_readers_language(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    reasons = [
        link_pb2.Reason(code="budget.exhausted", expected="4 hospitals", got="3", subject="kapok://hospital/h01"),
        link_pb2.Reason(code="policy.table"),
        link_pb2.Reason(code="a.newer_rule"),
    ]
    bureau.desk.asked = lambda _: [link_pb2.Progress(state="refused", refusals=reasons, is_last=True)]
    assert bureau(*ASK, lang="zh") == 1
    told = capsys.readouterr().err
    assert "隐私预算不足" in told
    assert "[budget.exhausted]" in told
    assert "医院政策不允许此数据表" in told
    assert "a.newer_rule" in told


def test_hospitals_that_say_the_same_are_one_line_and_its_facts_are_chinese(
    bureau: Bureau, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"code": "table.not_registered", "expected": "heart: a table registered here", "got": "none"}
    reasons = [link_pb2.Reason(**told, subject=f"kapok://hospital/h0{n}") for n in (1, 2, 3)]
    reasons.append(
        link_pb2.Reason(code="table.not_registered", expected="heart: a column of numbers", subject="kapok://hospital/h04")
    )
    bureau.desk.asked = lambda _: [link_pb2.Progress(state="refused", refusals=reasons, is_last=True)]
    assert bureau(*ASK, lang="zh") == 1
    lines = [line.strip() for line in capsys.readouterr().err.splitlines() if "table.not_registered" in line]
    assert [line.partition("：")[0] for line in lines] == ["h01、h02、h03", "h04"]
    assert not set(lines[0]) & set(":;,("), "no half-width sign in a Chinese sentence"
    assert "本院已登记的数据表" in lines[0]
    assert "registered here" not in lines[0]


@pytest.mark.parametrize("state", ["failed", "expired", "cancelled"])
def test_a_question_without_an_answer_exits_with_1(bureau: Bureau, state: str) -> None:
    bureau.desk.asked = lambda _: [link_pb2.Progress(state=state, is_last=True)]
    assert bureau(*ASK) == 1


def test_a_stream_that_ends_early_is_no_end_and_says_how_to_go_on(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.desk.asked = lambda _: [link_pb2.Progress(state="running", ready=2, of=5)]
    assert bureau(*ASK) == 3
    id_ = st.parse(bureau.desk.envelopes[0]).hex_id
    assert f"kapok resume {id_}" in capsys.readouterr().err
    bureau.desk.watched = lambda query: bureau.life(bureau.desk.envelopes[0])
    assert bureau("resume", id_[:8], "--json") == 0
    assert _told(capsys)["query"] == id_


def test_a_coordinator_that_is_away_exits_with_3(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.served.stop()
    assert bureau("catalog") == 3
    assert "cannot be reached (unavailable)" in capsys.readouterr().err


def test_an_unknown_state_claims_nothing(bureau: Bureau) -> None:
    bureau.desk.asked = lambda _: [link_pb2.Progress(state="released_probably", is_last=True)]
    assert bureau(*ASK) == 3


def test_interrupting_leaves_the_question_and_tells_how_to_resume(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.answers_in_life()
    city = bureau.connect()

    def interrupted(step: Step) -> None:
        if step.state is State.RUNNING:
            raise KeyboardInterrupt

    session, plan = Session(ENGLISH, bureau.connect), city.plan(Request(parse_sql(QUESTION), BySd(Fraction(20)), programme="ILI"))
    id_, envelope = city.sign(plan)
    with pytest.raises(typer.Exit) as stopped, city, watching(session, id_, is_quiet=False):
        city.send(id_, envelope, interrupted)
    assert stopped.value.exit_code == 3
    assert f"kapok resume {id_}" in capsys.readouterr().err
    assert city.shelf.open_questions() == [id_]


def test_cancel_tells_the_state(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    assert bureau("cancel", "ab" * 32) == 0
    assert "cancelled" in capsys.readouterr().out
    assert bureau("cancel", "nothing-like-it") == 2


def test_the_progress_of_a_question_is_told_line_by_line(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.answers_in_life()
    assert bureau(*ASK) == 0
    told = capsys.readouterr().err
    assert "submitted" in told
    assert "running (2 of 5)" in told
    assert "released" in told


def test_what_is_left_is_told_after_two_seconds_and_in_the_reader_s_words() -> None:
    """Most hospitals are ready at once: what that says of the rest in the first moments is nothing."""
    now = [100.0]

    def connect(home: Path) -> City:
        raise AssertionError("nothing is asked here")

    waiting = Waiting(Session(Say(Language.ZH), connect), is_quiet=True, clock=lambda: now[0])
    waiting.watch(Step("ab" * 32, State.RUNNING, 2, 5, (), b"", False))
    now[0] += 0.5
    assert waiting.line() == "进行中（2/5），已用 0.5 秒"
    now[0] += 3.5
    assert waiting.line() == "进行中（2/5），已用 4.0 秒，约剩 6.0 秒"
    now[0] += 60
    assert "已用 1 分 4 秒" in waiting.line()


def test_python_asks_as_the_program_does(bureau: Bureau) -> None:
    bureau.answers_in_life()
    with bureau.connect() as city:
        answer = city.ask(city.plan(Request(parse_sql(QUESTION), BySd(Fraction(20)), "ILI")))
    assert answer.values["count"] == EXPECTED
    table = answer.table()
    assert table.column_names == [
        "district",
        "district_name",
        "count_value",
        "count_lower",
        "count_upper",
        "count_half_width",
        "count_reliability",
    ]
    low, high = answer.interval["count"][3]
    half = table["count_half_width"][3].as_py()
    assert (low, high) == (EXPECTED[3] - half, EXPECTED[3] + half)


def test_a_wrong_file_name_costs_no_question(bureau: Bureau, tmp_path: Path) -> None:
    assert bureau(*ASK, "--out", "answer.xls") == 2
    assert bureau(*ASK, "--out", str(tmp_path / "nowhere" / "answer.csv")) == 2
    assert bureau(*ASK, "--chart", str(tmp_path / "series.png")) == 2, "no axis of time"
    assert bureau.desk.envelopes == []


def test_a_programme_is_appended_signed_and_waits_for_approval(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    bureau.desk.appended = link_pb2.Appended(index=77)
    add = ("programs", "add", "--title", "流感样病例", "--table", "visits", "--max-price", "0.02", "--until", "2027-01-01")
    assert bureau(*add, "--json") == 0
    signed = st.parse(bureau.desk.envelopes[0])
    programme = signed.statement
    assert isinstance(programme, st.Programme)
    assert (programme.title, programme.max_price, programme.until) == ("流感样病例", "0.020000000", "2027-01-01T00:00:00Z")
    assert signed.envelope.is_signed_by(bureau.city.bureau.public)
    assert _told(capsys) == {"id": signed.hex_id, "index": 77}
    bureau.desk.appended = link_pb2.Appended(refusals=[link_pb2.Reason(code="authority.asker")])
    assert bureau(*add) == 1


@pytest.mark.parametrize("until", ["2027-01-01", "2027-01-01T00:00:00Z"])
def test_a_programme_ends_on_a_day_or_at_a_time(bureau: Bureau, until: str) -> None:
    assert bureau("programs", "add", "--title", "x", "--table", "visits", "--max-price", "1", "--until", until) == 0
    programme = st.parse(bureau.desk.envelopes[0]).statement
    assert isinstance(programme, st.Programme)
    assert programme.until == "2027-01-01T00:00:00Z"


def test_the_catalogue_for_machines_is_what_the_coordinator_told(bureau: Bureau, capsys: pytest.CaptureFixture[str]) -> None:
    told = {**json.loads(bureau.desk.catalog), "newer": 1}
    told["hospitals"][0]["policy"] = {}
    bureau.desk.catalog = json.dumps(told).encode()
    assert bureau("catalog", "--json") == 0
    assert _told(capsys) == told
    assert bureau("catalog", lang="zh") == 0
    shown = capsys.readouterr().out
    assert "h01" in shown
    assert "ILI" in shown
    bureau.desk.catalog = b'{"hospitals": 1}'
    assert bureau("catalog", "--json") == 3
