"""A release is made again from the vectors its receipts name and the sum its opening names; each lie is found at its entry."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit_ledger.answer_report import NotShown
from audit_ledger.bundle import verify_answer
from audit_ledger.findings import Rule
from audit_ledger.main import run
from audit_ledger.vectors import SUM, Vectors, masked_name, place
from audit_ledger.verify import Audit, LedgerReport, verify_ledger
from protocols.answer import Answer
from tests.support.city import City, Question

H1 = "kapok://hospital/h01"


class Kept:
    """An answered question, with the folder that coordinator and auditor export."""

    def __init__(self, path: Path, lie: int = 0) -> None:
        self.city, self.vectors = City(path / "city"), path / "vectors"
        self.question = Question(self.city, self.city.opener())
        self.question.all_ready()
        request = self.question.request()
        self.sum = self.question.open(request)
        if lie:
            self._finish(request, lie)
        else:
            self.values: Any = self.question.finish(request, self.sum)
        self.folder = place(self.vectors, self.question.id.hex(), 0, 1)
        self.folder.mkdir(parents=True)
        for uri, vector in self.question.masked.items():
            (self.folder / masked_name(uri)).write_bytes(vector.tobytes())
        (self.folder / SUM).write_bytes(self.sum)
        self.city.checkpoint()

    def _finish(self, request: Any, lie: int) -> None:
        for each in request.seeds:
            self.city.log_entry(each.receipt)
        self.values = np.array(sum(self.question.exact.values())) + lie
        self.question.release(self.question.binding(), self.values)

    def report(self) -> LedgerReport:
        return verify_ledger(str(self.city.folder), self.city.trust, self.city.now, audit=Audit(vectors=Vectors(self.vectors)))

    def rules(self) -> list[tuple[str, Rule]]:
        """The kind of the entry and the rule, of each finding."""
        from protocols.statements import parse

        entries = self.city.log.entries(0, self.city.log.size)
        return [(parse(entries[each.index]).statement.kind, each.rule) for each in self.report().findings]

    def flip(self, name: str) -> None:
        raw = bytearray((self.folder / name).read_bytes())
        raw[0] ^= 1
        (self.folder / name).write_bytes(raw)


def test_an_honest_release_is_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = Kept(tmp_path)
    report = kept.report()
    assert report.vectors is not None
    assert (report.is_verified, report.vectors.rederived, report.vectors.gone) == (True, 1, [])
    trust = tmp_path / "trust.policy"
    trust.write_bytes(kept.city.trust.encode())
    capsys.readouterr()
    arguments = ["verify", str(kept.city.folder), "--trust", str(trust), "--vectors", str(kept.vectors), "--json"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["rederived"] == 1


def test_a_release_that_is_not_the_sum_is_found(tmp_path: Path) -> None:
    kept = Kept(tmp_path, lie=1)
    assert verify_ledger(str(kept.city.folder), kept.city.trust, kept.city.now).is_verified  # nothing else can see it
    assert kept.rules() == [("release", Rule.NOT_THE_SUM)]


def test_a_vector_that_its_hospital_did_not_sign_is_found(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.flip(masked_name(H1))
    assert kept.rules() == [("receipt", Rule.VECTOR_DIFFERS)]


def test_a_sum_that_the_auditor_did_not_open_is_found(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.flip(SUM)
    assert kept.rules() == [("opening", Rule.SUM_DIFFERS)]


@pytest.mark.parametrize("name", [SUM, masked_name(H1)])
def test_what_is_gone_is_not_re_derived_and_no_finding(tmp_path: Path, name: str) -> None:
    kept = Kept(tmp_path)
    (kept.folder / name).unlink()
    report = kept.report()
    assert report.vectors is not None
    assert (report.is_verified, report.vectors.rederived, report.vectors.gone) == (True, 0, [kept.question.id.hex()])


def test_an_answer_s_release_is_made_again_too(tmp_path: Path) -> None:
    honest = Kept(tmp_path / "honest")
    answer = honest.question.answer(honest.values)
    report = checked(honest, answer)
    assert report.problems == []
    assert NotShown.REDERIVED not in {what for what, _ in report.not_shown}
    honest.flip(masked_name(H1))
    assert [Rule.VECTOR_DIFFERS in each.what for each in checked(honest, answer).problems] == [True]
    (honest.folder / SUM).unlink()
    assert NotShown.REDERIVED in {what for what, _ in checked(honest, answer).not_shown}
    lying = Kept(tmp_path / "lying", lie=3)
    assert [Rule.NOT_THE_SUM in each.what for each in checked(lying, lying.question.answer(lying.values)).problems] == [True]


def checked(kept: Kept, answer: Answer) -> Any:
    return verify_answer(answer.model_dump_json().encode(), kept.city.trust, kept.city.now, kept.vectors)


def test_the_auditor_exports_the_sums_its_opener_handed_out(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert run(["vectors", "--home", str(tmp_path / "city" / "opener"), "--out", str(tmp_path / "sums")]) == 0
    assert (place(tmp_path / "sums", kept.question.id.hex(), 0, 1) / SUM).read_bytes() == kept.sum
