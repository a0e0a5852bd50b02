# ruff: noqa: E501 - one lie a line
"""Answers composed of entries that are logged, proved and signed, and yet do not say what an answer must say."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit_ledger.bundle import verify_answer
from audit_ledger.proof import TlogProof
from protocols import statements as st
from protocols.answer import Answer, Proven
from protocols.canonical import b64
from protocols.identity import Signer
from protocols.secagg.binding import Binding
from tests.support.city import AUDITOR, BUREAU, COORDINATOR, ORIGIN, City, Question, key

H1, H2 = "kapok://hospital/h01", "kapok://hospital/h02"


class Liar:
    """An answered question, whose parts can be replaced by others that are logged and proved like the honest ones."""

    def __init__(self, path: Path) -> None:
        self.city = City(path)
        self.question = Question(self.city, self.city.opener())
        self.answer = self.question.answer(self.question.live())
        self.binding = Binding.decode(self.city.view().questions[self.question.id.hex()].openings[0][1].encode())

    def proven(self, entry: bytes) -> Proven:
        self.city.log_entry(entry)
        return Proven(entry=entry.decode(), proof=self.city.prove(entry).decode())

    def restated(self, proven: Proven, signer: Signer, **changes: Any) -> Proven:
        """The statement with changes, signed and logged at the end."""
        later = {"at": "2026-11-23T08:00:01Z", **changes}  # another statement even without a change, so that it is logged anew
        statement = st.parse(proven.entry.encode()).statement.model_copy(update=later)
        return self.proven(self.city.sign(statement, signer))

    def problems(self, **changes: Any) -> set[str]:
        answer = self.answer.model_copy(update=changes)
        report = verify_answer(Answer.model_validate(answer).model_dump_json().encode(), self.city.trust, self.city.now)
        return {f"{each.place}: {each.what}" for each in report.problems}


@pytest.fixture
def liar(tmp_path: Path) -> Liar:
    return Liar(tmp_path)


def query(liar: Liar, **changes: Any) -> set[str]:
    return liar.problems(query=liar.restated(liar.answer.query, liar.city.bureau, **changes))


def opening(liar: Liar, **changes: Any) -> set[str]:
    return liar.problems(opening=liar.restated(liar.answer.opening, liar.city.service, **changes))


def bound(liar: Liar, **changes: Any) -> set[str]:
    return opening(liar, preimage=b64(replace(liar.binding, **changes).encode()))


def unread(liar: Liar) -> set[str]:
    asked = liar.restated(liar.answer.query, liar.city.bureau, spec={"table": "visits"})
    preimage = b64(replace(liar.binding, round=1).encode())
    return liar.problems(query=asked, opening=liar.restated(liar.answer.opening, liar.city.service, preimage=preimage))


def ready(liar: Liar, **changes: Any) -> set[str]:
    first, *others = liar.answer.readys
    return liar.problems(readys=(liar.restated(first, liar.city.hospitals[H1].identity, **changes), *others))


def receipt(liar: Liar, **changes: Any) -> set[str]:
    first, *others = liar.answer.receipts
    return liar.problems(receipts=(liar.restated(first, liar.city.hospitals[H1].identity, **changes), *others))


def release(liar: Liar, **changes: Any) -> set[str]:
    return liar.problems(release=liar.restated(liar.answer.release, liar.city.coordinator, **changes))


def approval(liar: Liar, **changes: Any) -> set[str]:
    programme, approved = liar.answer.approvals
    return liar.problems(approvals=(programme, liar.restated(approved, liar.city.approval, **changes)))


def programme(liar: Liar, **changes: Any) -> set[str]:
    stated, approved = liar.answer.approvals
    return liar.problems(approvals=(liar.restated(stated, liar.city.bureau, **changes), approved))


def charge_of(liar: Liar) -> st.Charge:
    stated = st.parse(liar.answer.readys[0].entry.encode()).statement
    assert isinstance(stated, st.Ready)
    return stated.charge


def two_roots(liar: Liar) -> set[str]:
    """A fork that log and witness signed: the same size, another root."""
    twin = City(liar.city.path / "twin")
    while twin.log.size < liar.city.log.size:
        twin.now += 1
        twin.approve(twin.programme)
    keys = [
        Proven(entry=twin.log.entries(at, at + 1)[0].decode(), proof=twin.prove(twin.log.entries(at, at + 1)[0]).decode())
        for at in range(3)
    ]
    return liar.problems(keys=(*keys, *liar.answer.keys[3:]))


def with_extra(liar: Liar) -> set[str]:
    proof = TlogProof.parse(liar.answer.query.proof.encode())
    noted = TlogProof(proof.index, proof.path, proof.checkpoint, b"verified by the operator").encode().decode()
    return liar.problems(query=Proven(entry=liar.answer.query.entry, proof=noted))


def coverage(liar: Liar, **changes: Any) -> set[str]:
    return liar.problems(coverage=liar.answer.coverage.model_copy(update=changes))


LIES: dict[str, tuple[Callable[[Liar], set[str]], str]] = {
    "a fork": (two_roots, "two roots at size"),
    "an extra line": (with_extra, "an extra line"),
    "entry 0 left out": (lambda x: x.problems(keys=x.answer.keys[1:]), "entry 0 of the log is missing"),
    "a key list with something else": (lambda x: x.problems(keys=(*x.answer.keys, x.answer.query)), "expected a key statement"),
    "a query by a hospital": (lambda x: x.problems(query=x.restated(x.answer.query, x.city.hospitals[H1].identity, by=H1)), "expected a bureau"),
    "a query of another log": (lambda x: query(x, log="other.log"), "is for another log"),
    "an audience out of order": (lambda x: query(x, audience=(H2, H1)), "not sorted"),
    "an opening before its query": (lambda x: query(x), "stands before its query"),
    "an approval of something else": (lambda x: approval(x, target="0" * 64), "approves something else"),
    "an approval afterwards": (lambda x: approval(x, until="2027-12-31T00:00:00Z"), "no approval for surveillance in its place"),
    "an approval that had ended": (lambda x: approval(x, until="2026-11-23T08:00:00Z"), "had ended before the query"),
    "an approval by the coordinator": (lambda x: x.problems(approvals=(x.answer.approvals[0], x.restated(x.answer.approvals[1], x.city.coordinator, by=COORDINATOR))), "expected a auditor"),
    "something else as approval": (lambda x: x.problems(approvals=(*x.answer.approvals, x.answer.query)), "expected an approval or its programme"),
    "a programme of other tables": (lambda x: x.problems(approvals=(x.restated(x.answer.approvals[0], x.city.bureau, tables=("x",)), x.answer.approvals[1])), "is not a programme of this query"),
    "a programme that had ended": (lambda x: programme(x, until="2026-11-23T08:00:00Z"), "had ended before the query"),
    "a programme that allows less": (lambda x: programme(x, max_price="0.009999999"), "allows 0.009999999 a query"),
    "no programme": (lambda x: x.problems(approvals=x.answer.approvals[1:]), "the programme is missing"),
    "something else as query": (lambda x: x.problems(query=x.answer.opening), "expected a query statement"),
    "something else as opening": (lambda x: x.problems(opening=x.answer.query), "expected a opening statement"),
    "something else as release": (lambda x: x.problems(release=x.answer.query), "expected a release statement"),
    "less noise than asked": (lambda x: bound(x, variances=(16,)), "other noise than the query asked for"),
    "a fourth attempt": (lambda x: bound(x, attempt=4), "is of attempt 4"),
    "an opening by the approval key": (lambda x: x.problems(opening=x.restated(x.answer.opening, x.city.approval)), "not signed by an admitted key"),
    "an opening of another query": (lambda x: opening(x, query="0" * 64), "is of another query, attempt or log"),
    "an opening of another round": (lambda x: bound(x, round=1), "is of another round"),
    "a training whose plan cannot be read": (unread, "query: measures"),
    "an opening after the window": (lambda x: opening(x, at="2026-11-23T08:10:00Z"), "came after the window closed"),
    "an opening without a binding": (lambda x: opening(x, preimage=b64(b"x")), "opening: cut short"),
    "n of another set": (lambda x: bound(x, n=4), "n or c"),
    "three counting": (lambda x: bound(x, counting=x.binding.counting[:3], n=3), "below the floor"),
    "a Ready after its opening": (lambda x: ready(x), "does not stand between query and opening"),
    "a Ready for another query": (lambda x: ready(x, query="0" * 64), "is for another query"),
    "a Ready for other rounds": (lambda x: ready(x, first_round=1, last_round=2), "does not cover the round"),
    "a Ready with another window": (lambda x: ready(x, not_after="2026-11-23T09:00:00Z"), "has another window"),
    "a Ready that was not bound": (lambda x: ready(x, sequence=9), "is not the one that was bound"),
    "something else as Ready": (lambda x: x.problems(readys=(*x.answer.readys, x.answer.query)), "expected a ready statement"),
    "a member outside the audience": (lambda x: query(x, audience=(H2,)), "a member is not in the audience"),
    "a Ready that charges another purpose": (lambda x: ready(x, charge=charge_of(x).model_copy(update={"purpose": "research"})), "charges another purpose"),
    "a Ready with a sealing key of nobody": (lambda x: ready(x, sealing=x.question.opener.keys.current("2026-11", x.city.now).certificate(ORIGIN, key("invented"))), "names a sealing key"),
    "a training answered by a stranger": (lambda x: x.problems(opening=x.restated(x.answer.opening, x.city.service, first_round=1), release=x.restated(x.answer.release, x.city.coordinator, answered=(BUREAU,))), "answered are not of the opened members"),
    "a second Ready": (lambda x: x.problems(readys=(*x.answer.readys, x.answer.readys[0])), "a second Ready"),
    "a Ready by another key": (lambda x: x.problems(readys=(x.restated(x.answer.readys[0], x.city.bureau), *x.answer.readys[1:])), "not signed by an admitted key"),
    "a receipt after the release": (lambda x: receipt(x), "does not stand between opening and release"),
    "a receipt of another attempt": (lambda x: receipt(x, attempt=2), "is for another attempt"),
    "a receipt under another binding": (lambda x: receipt(x, binding="0" * 64), "is under another binding"),
    "a receipt by another key": (lambda x: x.problems(receipts=(x.restated(x.answer.receipts[0], x.city.bureau), *x.answer.receipts[1:])), "not signed by an admitted key"),
    "something else as receipt": (lambda x: x.problems(receipts=(*x.answer.receipts, x.answer.query)), "expected a receipt"),
    "a release by the auditor": (lambda x: x.problems(release=x.restated(x.answer.release, x.city.approval, by=AUDITOR)), "expected a coordinator"),
    "a release that failed": (lambda x: release(x, status="failed"), "is not of the opened query"),
    "a release of other values": (lambda x: release(x, values="0" * 64), "are not those that were released"),
    "a release that hides a hospital": (lambda x: release(x, answered=x.answer.coverage.answered[1:]), "is not the opened member set"),
    "a coverage of its own": (lambda x: coverage(x, away=(H1,)), "is not that of the release"),
    "a hospital named twice": (lambda x: x.problems(release=x.restated(x.answer.release, x.city.coordinator, left_out=(H1,)), coverage=x.answer.coverage.model_copy(update={"left_out": (H1,)})), "does not name every hospital of the audience once"),
    "a stranger who was incomplete": (lambda x: coverage(x, incomplete=(BUREAU,)), "names a stranger"),
    "another price": (lambda x: x.problems(price="0.020000000"), "was charged by"),
    "a smaller variance": (lambda x: x.problems(total_variances=("1.0000",)), "do not follow from the opened binding"),
    "a smaller interval": (lambda x: x.problems(half_widths=(1,)), "do not fit the variances"),
    "a value too many": (lambda x: x.problems(values=(*x.answer.values, 0)), "are not 5 numbers"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_that_is_logged_and_signed_is_named(liar: Liar, lie: str) -> None:
    tell, expected = LIES[lie]
    found = tell(liar)
    assert any(expected in each for each in found), found
    liar.city.close()
