"""`verify` on an answer file: offline, every field tampered with is evidence, and what nobody signed is named."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit_ledger.answer_report import NotShown
from audit_ledger.bundle import AnswerReport, NotAnAnswer, verify_answer
from audit_ledger.main import run
from audit_ledger.policy import TrustFile
from tests.audit_ledger.verify.city_on_disk import OnDisk, build
from tests.support.city import City, Question

UNSIGNED = {"spending", "coverage.incomplete"}


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> OnDisk:
    return build(tmp_path_factory.mktemp("answer"))


def check(disk: OnDisk, bundle: dict[str, Any]) -> AnswerReport:
    return verify_answer(json.dumps(bundle).encode(), TrustFile.parse(disk.trust.read_bytes()), disk.now)


def test_an_honest_answer_is_verified_and_says_what_it_cannot_show(disk: OnDisk) -> None:
    report = check(disk, disk.bundle.model_dump(mode="json"))
    assert report.problems == []
    assert [what for what, _ in report.not_shown][:2] == [NotShown.IN_BETWEEN, NotShown.UNSIGNED]
    assert run(["verify", str(disk.answer), "--trust", str(disk.trust)]) == 0


@pytest.mark.parametrize("purpose", ["research", "outbreak"])
def test_an_answer_with_its_own_approval_is_verified(tmp_path: Path, purpose: str) -> None:
    city = City(tmp_path)
    question = Question(city, city.opener(), purpose=purpose)
    answer = question.answer(question.live())
    assert verify_answer(answer.model_dump_json().encode(), city.trust, city.now).problems == []
    city.close()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name in value:
            yield from leaves(value[name], (*path, name))
    elif isinstance(value, list) and value:
        for at in range(len(value)):
            yield from leaves(value[at], (*path, at))
    else:
        yield path


def changed(value: Any) -> Any:
    if isinstance(value, int):
        return value * 2 + 50
    if isinstance(value, list):
        return ["kapok://hospital/h01"]
    if value is None:
        return {"keys": [], "approvals": [], "before": None}  # of a log that this one does not follow
    middle = len(value) // 2
    return value[:middle] + ("A" if value[middle] != "A" else "B") + value[middle + 1 :]


def test_every_field_tampered_with_is_evidence_but_for_those_named_as_unsigned(disk: OnDisk) -> None:
    bundle = disk.bundle.model_dump(mode="json")
    tried = 0
    for path in leaves(bundle):
        if ".".join(map(str, path)).startswith(tuple(UNSIGNED)):
            continue
        tampered = json.loads(json.dumps(bundle))
        holder = tampered
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = changed(holder[path[-1]])
        try:
            report = check(disk, tampered)
        except NotAnAnswer:
            continue
        tried += 1
        assert report.problems, path
    assert tried > 50


LISTS = ("keys", "approvals", "readys", "receipts")


@pytest.mark.parametrize("name", LISTS)
def test_a_left_out_entry_is_evidence(disk: OnDisk, name: str) -> None:
    bundle = disk.bundle.model_dump(mode="json")
    for at in range(len(bundle[name])):
        without = {**bundle, name: bundle[name][:at] + bundle[name][at + 1 :]}
        assert check(disk, without).problems, (name, at)


@pytest.mark.parametrize("name", LISTS)
def test_a_repeated_entry_is_evidence(disk: OnDisk, name: str) -> None:
    bundle = disk.bundle.model_dump(mode="json")
    repeated = {**bundle, name: [*bundle[name], bundle[name][-1]]}
    if name != "approvals":  # the same approval twice says nothing more
        assert check(disk, repeated).problems


def test_entries_of_another_question_do_not_pass(tmp_path: Path) -> None:
    city = City(tmp_path)
    opener = city.opener()
    one, two = Question(city, opener), Question(city, opener, blocks=("2026-09",))
    first, second = (each.answer(each.live()).model_dump(mode="json") for each in (one, two))
    for name in ("query", "opening", "release", "readys", "receipts"):
        mixed = {**first, name: second[name]}
        assert verify_answer(json.dumps(mixed).encode(), city.trust, city.now).problems, name
    city.close()


def test_a_release_of_other_values_is_evidence(tmp_path: Path) -> None:
    city = City(tmp_path)
    question = Question(city, city.opener())
    values = question.live()
    answer = question.answer(values).model_copy(update={"values": tuple(int(each) + 1 for each in values)})
    report = verify_answer(answer.model_dump_json().encode(), city.trust, city.now)
    assert [each.place for each in report.problems] == ["values"]
    city.close()


def test_a_file_that_is_no_answer_could_not_be_checked_and_another_trust_file_is_evidence(disk: OnDisk, tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text('{"version": 1}')
    assert run(["verify", str(tmp_path / "no.json"), "--trust", str(disk.trust)]) == 3
    other = TrustFile(TrustFile.parse(disk.trust.read_bytes()).policy, bytes(32))
    assert verify_answer(disk.answer.read_bytes(), other, disk.now).problems
