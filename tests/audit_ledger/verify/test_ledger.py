"""`verify` on a whole ledger: a tampered byte in any file, a broken rule at any entry, and what cannot be checked."""

import shutil
from pathlib import Path

import pytest

from audit_ledger import replay
from audit_ledger.errors import NoQuorum, SplitView, TreeMismatch, Unavailable, UnknownLog
from audit_ledger.findings import Rule
from audit_ledger.main import run
from audit_ledger.mirror import Mirror
from audit_ledger.policy import TrustFile
from audit_ledger.verify import Audit, verify_ledger
from tests.audit_ledger.verify.city_on_disk import OnDisk, build
from tests.support.city import BUREAU, City, Question


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> OnDisk:
    return build(tmp_path_factory.mktemp("whole"), entries=300)


@pytest.fixture
def copied(whole: OnDisk, tmp_path: Path) -> OnDisk:
    shutil.copytree(whole.ledger, tmp_path / "ledger")
    return OnDisk(tmp_path / "ledger", whole.trust, whole.answer, whole.bundle, whole.now)


def pinned(one: OnDisk) -> TrustFile:
    return TrustFile.parse(one.trust.read_bytes())


def test_an_untouched_ledger_is_verified_up_to_its_last_entry(whole: OnDisk) -> None:
    report = verify_ledger(str(whole.ledger), pinned(whole), whole.now)
    assert (report.is_verified, report.findings, report.verified_to) == (True, [], report.size)
    assert report.size > 300
    assert report.kinds["query"] == report.kinds["opening"] == report.kinds["release"] == 1
    assert run(["verify", str(whole.ledger), "--trust", str(whole.trust)]) == 0


FILES = ["tile/entries/000", "tile/entries/001.p/*", "tile/0/000", "tile/0/001.p/*", "tile/1/000.p/1", "checkpoint"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_tampered_byte_in_any_file_is_evidence(copied: OnDisk, name: str, place: float) -> None:
    path = sorted(copied.ledger.glob(name), key=lambda each: each.name)[-1]
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * place)] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)
    report = verify_ledger(str(copied.ledger), pinned(copied), copied.now)
    assert report.broken is not None
    assert run(["verify", str(copied.ledger), "--trust", str(copied.trust)]) == 1


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "WORTH_A_PROCESS", 0)
    monkeypatch.setattr(replay, "HASHES_WORTH_A_PROCESS", 0)


@pytest.mark.usefixtures("two_processes")
def test_two_processes_come_to_what_one_comes_to(copied: OnDisk, tmp_path: Path) -> None:
    one, two = (
        verify_ledger(str(copied.ledger), pinned(copied), copied.now, audit=Audit(Mirror(tmp_path / str(n)), processes=n))
        for n in (1, 2)
    )
    assert (two.is_verified, two.verified_to, two.kinds, two.root) == (True, one.verified_to, one.kinds, one.root)
    assert one.view is not None
    assert two.view is not None
    assert (one.view.accounts, one.view.seen_ids, one.view.ended) == (two.view.accounts, two.view.seen_ids, two.view.ended)
    hashes = verify_ledger(str(copied.ledger), pinned(copied), copied.now, audit=Audit(hashes_only=True, processes=1))
    assert (hashes.is_verified, hashes.verified_to, hashes.kinds) == (True, one.verified_to, {})


@pytest.mark.usefixtures("two_processes")
def test_what_the_second_process_finds_is_evidence_too(copied: OnDisk) -> None:
    path = copied.ledger / "tile/0/000"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(raw)
    report = verify_ledger(str(copied.ledger), pinned(copied), copied.now)
    assert isinstance(report.broken, TreeMismatch)


@pytest.mark.usefixtures("two_processes")
def test_a_forged_signature_is_found_whichever_process_reads_it(tmp_path: Path) -> None:
    city = City(tmp_path)
    for at in range(300):
        hospital = city.hospitals[sorted(city.hospitals)[at % city.n]]
        city.now += 1
        signer = city.bureau if at in (7, 290) else hospital.identity
        city.log_entry(city.sign(city.policy_of(hospital), signer))
    first = city.log.size - 300
    city.checkpoint()
    for processes in (1, 2):
        report = verify_ledger(str(city.folder), city.trust, city.now, audit=Audit(processes=processes))
        assert [(each.index, each.rule) for each in report.findings] == [(first + at, Rule.SIGNATURE) for at in (7, 290)]
    city.close()


def test_a_missing_file_is_could_not_check_and_not_evidence(copied: OnDisk) -> None:
    (copied.ledger / "tile" / "entries" / "000").unlink()
    with pytest.raises(Unavailable, match="tile/entries/000"):
        verify_ledger(str(copied.ledger), pinned(copied), copied.now)
    assert run(["verify", str(copied.ledger), "--trust", str(copied.trust)]) == 3


def test_another_log_s_trust_file_does_not_verify_it(whole: OnDisk, tmp_path: Path) -> None:
    trust = pinned(whole)
    other = TrustFile(trust.policy, bytes(32))
    report = verify_ledger(str(whole.ledger), other, whole.now)
    assert Rule.ROOT in {each.rule for each in report.findings}


def test_a_checkpoint_without_its_witness_is_evidence(copied: OnDisk) -> None:
    note = (copied.ledger / "checkpoint").read_bytes()
    (copied.ledger / "checkpoint").write_bytes(b"\n".join(note.split(b"\n")[:-2]) + b"\n")
    report = verify_ledger(str(copied.ledger), pinned(copied), copied.now)
    assert isinstance(report.broken, NoQuorum)


def test_a_checkpoint_of_an_unknown_log_is_evidence(copied: OnDisk) -> None:
    note = (copied.ledger / "checkpoint").read_bytes()
    (copied.ledger / "checkpoint").write_bytes(note.replace(b"ledger.kapok.test", b"ledger.kapok.tent", 1))
    report = verify_ledger(str(copied.ledger), pinned(copied), copied.now)
    assert isinstance(report.broken, UnknownLog)


def test_a_broken_rule_is_found_at_its_entry(tmp_path: Path) -> None:
    city = City(tmp_path)
    question = Question(city, city.opener(), purpose="research")
    question.ready("kapok://hospital/h01")  # nobody approved it
    index = city.log.size - 1
    city.checkpoint()
    report = verify_ledger(str(city.folder), city.trust, city.now)
    assert [(each.index, each.rule) for each in report.findings] == [(index, Rule.APPROVAL_MISSING)]
    assert report.broken is None
    city.close()


def test_a_monitor_reads_on_from_its_mirror_and_sees_a_shorter_ledger(tmp_path: Path) -> None:
    city, mirror = City(tmp_path / "city"), tmp_path / "mirror"
    city.checkpoint()
    earlier = tmp_path / "earlier"
    shutil.copytree(city.folder, earlier)
    assert verify_ledger(str(city.folder), city.trust, city.now, audit=Audit(Mirror(mirror))).is_verified
    city.now += 1
    city.approve(city.programme)
    city.checkpoint()
    report = verify_ledger(str(city.folder), city.trust, city.now, audit=Audit(Mirror(mirror)))
    assert (report.is_verified, report.verified_to) == (True, city.log.size)
    assert report.read_from == city.log.size - 1
    assert isinstance(verify_ledger(str(earlier), city.trust, city.now, audit=Audit(Mirror(mirror))).broken, SplitView)
    city.close()


def test_a_ledger_that_rewrote_what_the_monitor_verified_is_evidence(tmp_path: Path) -> None:
    city, mirror = City(tmp_path / "city"), tmp_path / "mirror"
    city.checkpoint()
    assert verify_ledger(str(city.folder), city.trust, city.now, audit=Audit(Mirror(mirror))).is_verified
    other = City(tmp_path / "other", n=4)
    other.approve(other.programme)
    for each in range(5):
        other.now += each
        other.log_entry(
            other.sign(other.policy_of(other.hospitals["kapok://hospital/h01"]), other.hospitals["kapok://hospital/h01"].identity)
        )
    other.checkpoint()
    assert other.log.size > city.log.size
    assert isinstance(verify_ledger(str(other.folder), city.trust, city.now, audit=Audit(Mirror(mirror))).broken, TreeMismatch)
    city.close()
    other.close()


def test_commands_without_a_trust_file_are_usage_errors(whole: OnDisk) -> None:
    for arguments in (["verify", str(whole.ledger)], ["report", str(whole.ledger)], ["explain", "0", str(whole.ledger)]):
        assert run(arguments) == 2
    assert run(["verify", str(whole.ledger / "nowhere"), "--trust", str(whole.trust)]) == 2


def test_the_report_counts_what_the_ledger_holds(whole: OnDisk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(whole.ledger), "--trust", str(whole.trust), "--json"]) == 0
    shown = capsys.readouterr().out
    assert '"surveillance": 1' in shown
    assert f'"2026-11": "{whole.bundle.price}"' in shown
    assert BUREAU in shown
