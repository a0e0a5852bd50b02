"""The monitor: what it keeps, what a fork looks like from each side, and what it says when it cannot check."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest

from audit_ledger.errors import Malformed, SplitView
from audit_ledger.findings import Rule
from audit_ledger.main import run
from audit_ledger.mirror import Mirror
from audit_ledger.monitor import Watch
from audit_ledger.verify import Audit, LedgerReport, verify_ledger
from protocols import statements as st
from protocols.clock import stamp
from protocols.contract import CONTRACT
from tests.support.city import AUDITOR, City, Question

H1, H2 = "kapok://hospital/h01", "kapok://hospital/h02"


@pytest.fixture
def city(tmp_path: Path) -> City:
    made = City(tmp_path / "city")
    made.checkpoint()
    return made


def watched(city: City, tmp_path: Path, **changes: object) -> LedgerReport:
    return verify_ledger(str(city.folder), city.trust, city.now, audit=Audit(Mirror(tmp_path / "mirror"), **changes))  # type: ignore[arg-type]


def grown(city: City, entries: int) -> None:
    for at in range(entries):
        hospital = city.hospitals[sorted(city.hospitals)[at % city.n]]
        city.now += 1
        city.log_entry(city.sign(city.policy_of(hospital), hospital.identity))
    city.checkpoint()


def same_facts(one: LedgerReport, other: LedgerReport) -> None:
    assert one.view is not None
    assert other.view is not None
    assert (one.kinds, one.findings, one.verified_to) == (other.kinds, other.findings, other.verified_to)
    for name in ("questions", "ended", "accounts", "approvals", "programmes", "policies", "authority", "seen_ids", "is_held"):
        assert getattr(one.view, name) == getattr(other.view, name), name


def test_an_audit_that_reads_on_from_its_state_comes_to_the_facts_of_one_that_read_all(city: City, tmp_path: Path) -> None:
    opener = city.opener()
    open_ = Question(city, opener)
    open_.ready(H1)
    for entries in (3, 250, 1, 300):
        grown(city, entries)
        Question(city, opener).live()
        city.checkpoint()
        size_before = (Mirror(tmp_path / "mirror").note() or b"\n0\n").split(b"\n")[1]
        report = watched(city, tmp_path)
        assert report.is_verified, (report.broken, report.findings)
        assert report.read_from == int(size_before)
        same_facts(report, verify_ledger(str(city.folder), city.trust, city.now))
    assert list(report.view.questions) == [open_.id.hex()] if report.view else False
    copy = verify_ledger(str(tmp_path / "mirror" / "log"), city.trust, city.now)
    assert (copy.is_verified, copy.root) == (True, report.root)


def test_the_state_is_written_where_there_is_something_new_or_it_was_of_no_use(city: City, tmp_path: Path) -> None:
    state = tmp_path / "mirror" / "state"
    watched(city, tmp_path)
    first, written = state.read_bytes(), state.stat().st_ino
    city.now += 60
    city.checkpoint()
    assert watched(city, tmp_path).read_from == city.log.size
    assert (state.read_bytes(), state.stat().st_ino) == (first, written), "only the cosignature's time is new"
    state.write_bytes(first[:-1] + bytes([first[-1] ^ 1]))
    assert watched(city, tmp_path).read_from == 0
    assert watched(city, tmp_path).read_from == city.log.size
    grown(city, 1)
    watched(city, tmp_path)
    assert state.read_bytes() != first


def test_a_daemon_goes_on_from_what_it_holds_and_after_a_broken_round_from_the_disk(city: City, tmp_path: Path) -> None:
    mirror, size = Mirror(tmp_path / "mirror"), city.log.size
    watch = Watch(str(city.folder), city.trust, Audit(mirror), 3600)
    assert watch.once(city.now).exit_code == 0
    state = (mirror.folder / "state").read_bytes()
    (mirror.folder / "state").unlink()
    grown(city, 3)
    report = watch.once(city.now).report
    assert report is not None
    assert report.read_from == size, "no state is on the disk that it could have read"
    same_facts(report, verify_ledger(str(city.folder), city.trust, city.now))
    assert (mirror.folder / "state").read_bytes() != state
    grown(city, 2)
    tile = city.folder / "tile" / "entries" / "000.p" / str(city.log.size)
    good = tile.read_bytes()
    tile.write_bytes(good[:-9] + b"\x00" + good[-8:])
    assert watch.once(city.now).exit_code == 1
    (mirror.folder / "state").unlink()
    tile.write_bytes(good)
    report = watch.once(city.now).report
    assert report is not None
    assert (report.is_verified, report.read_from) == (True, 0), "what broke off was not gone on from"


def test_an_audit_of_hashes_leaves_no_state_that_an_audit_of_rules_would_read_on_from(city: City, tmp_path: Path) -> None:
    city.now += 1
    city.log_entry(city.sign(city.policy_of(city.hospitals[H1]), city.hospitals[H2].identity))
    city.checkpoint()
    assert watched(city, tmp_path, hashes_only=True).is_verified
    report = watched(city, tmp_path)
    assert [each.rule for each in report.findings] == [Rule.SIGNATURE]
    same_facts(report, verify_ledger(str(city.folder), city.trust, city.now))


def test_what_is_verified_after_a_resume_is_judged_with_what_was_before_it(city: City, tmp_path: Path) -> None:
    question = Question(city, city.opener())
    ready = question.ready(H1)
    city.checkpoint()
    assert watched(city, tmp_path).is_verified
    city.log.append([(b"x" * 32, ready)]).result()
    city.now += 1
    city.checkpoint()
    assert [each.rule for each in watched(city, tmp_path).findings] == [Rule.DUPLICATE]
    assert [each.rule for each in watched(city, tmp_path).findings] == [Rule.DUPLICATE]  # it is not forgotten
    # A pickled member of an enumeration is read by some versions of Python and refused by others: there is none.
    assert b"audit_ledger.findings" not in (tmp_path / "mirror" / "state").read_bytes()


@pytest.mark.parametrize("place", [0, 30, 70, 100, 150, -1])
def test_a_state_that_is_damaged_is_not_used(city: City, tmp_path: Path, place: int) -> None:
    watched(city, tmp_path)
    path = tmp_path / "mirror" / "state"
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)
    report = watched(city, tmp_path)
    assert (report.is_verified, report.read_from) == (True, 0)
    assert watched(city, tmp_path).read_from == report.size


def called(module: str, name: str, argument: str) -> bytes:
    """A state whose reader would call `name` of `module`."""
    words = (b"\x8c" + bytes([len(each)]) + each.encode() for each in (module, name))
    return b"\x80\x04" + b"".join(words) + b"\x93" + pickle.dumps((argument, "w"), protocol=4)[2:-1] + b"R."


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("shutil", "rmtree"),
        ("audit_ledger.mirror", "pickle.io.FileIO"),  # a class, and reached through a module of ours
        ("audit_ledger.history", "FullTree"),
        ("audit_ledger.witness_store", "WitnessStore"),
    ],
)
def test_a_state_makes_no_values_but_our_own(city: City, tmp_path: Path, module: str, name: str) -> None:
    watched(city, tmp_path)
    path = tmp_path / "mirror" / "state"
    head = path.read_bytes()[: len(b"kapok-audit state 1\n") + 32 + 32 + 8 + 32]
    body = called(module, name, str(tmp_path / "made"))
    path.write_bytes(head + hashlib.sha256(body).digest() + body)
    report = watched(city, tmp_path)
    assert not (tmp_path / "made").exists()
    assert isinstance(report.broken, Malformed)
    assert f"a state holds no {module}.{name}" in str(report.broken)


def forked(city: City, tmp_path: Path) -> City:
    """The same keys sign another history."""
    other = City(tmp_path / "other")
    other.now = city.now + 5
    return other


@pytest.mark.parametrize("more", [-3, 0, 40])
def test_a_fork_is_evidence_and_both_notes_are_kept(city: City, tmp_path: Path, more: int) -> None:
    grown(city, 10)
    assert watched(city, tmp_path).is_verified
    mine = (city.folder / "checkpoint").read_bytes()
    other = forked(city, tmp_path)
    grown(other, 10 + more)
    theirs = (other.folder / "checkpoint").read_bytes()
    report = watched(other, tmp_path)
    assert isinstance(report.broken, SplitView)
    assert [each.read_bytes() for each in report.evidence] == [mine, theirs]
    arguments = ["verify", str(other.folder), "--trust", str(trust(city, tmp_path)), "--mirror", str(tmp_path / "mirror")]
    assert run(arguments) == 1


def trust(city: City, tmp_path: Path) -> Path:
    path = tmp_path / "trust.policy"
    path.write_bytes(city.trust.encode())
    return path


def test_a_fork_is_seen_after_the_state_was_lost_too(city: City, tmp_path: Path) -> None:
    grown(city, 10)
    watched(city, tmp_path)
    (tmp_path / "mirror" / "state").unlink()
    other = forked(city, tmp_path)
    grown(other, 50)
    assert isinstance(watched(other, tmp_path).broken, SplitView)


def test_any_two_checkpoints_are_compared(city: City, tmp_path: Path) -> None:
    earlier = (city.folder / "checkpoint").read_bytes()
    grown(city, 10)
    other = forked(city, tmp_path)
    grown(other, 5)
    theirs = (other.folder / "checkpoint").read_bytes()
    assert verify_ledger(str(city.folder), city.trust, city.now, audit=Audit(checkpoints=(earlier,))).is_verified
    report = verify_ledger(
        str(city.folder), city.trust, city.now, audit=Audit(checkpoints=(earlier, theirs), evidence=tmp_path / "evidence")
    )
    assert isinstance(report.broken, SplitView)
    assert [each.read_bytes() for each in report.evidence] == [theirs, (city.folder / "checkpoint").read_bytes()]
    grown(other, 50)
    beyond = verify_ledger(
        str(city.folder), city.trust, city.now, audit=Audit(checkpoints=((other.folder / "checkpoint").read_bytes(),))
    )
    assert (beyond.is_verified, beyond.unseen) == (True, [other.log.size])


def test_a_coordinator_that_shows_two_trees_is_caught_by_what_a_hospital_signed(city: City, tmp_path: Path) -> None:
    """One hospital was shown another tree, cosigned or not: its Ready names that root, and stands in this ledger."""
    other = forked(city, tmp_path)
    grown(other, 3)
    question = Question(city, city.opener())
    grown(city, 10)
    shown = st.Seen(size=other.log.size, root=other.log._tree.root(other.log.size).hex())
    question.ready(H1)
    question.ready(H2, seen=shown)
    index = city.log.size - 1
    city.checkpoint()
    found = watched(city, tmp_path).findings
    assert [(each.index, each.rule) for each in found] == [(index, Rule.FORKED)]


def test_an_opening_that_nothing_followed_is_overdue_until_an_incident_explains_it(city: City, tmp_path: Path) -> None:
    question = Question(city, city.opener())
    question.all_ready()
    question.open(question.request())
    city.checkpoint()
    assert watched(city, tmp_path).is_verified
    city.now += 1201
    city.checkpoint()
    assert {each.rule for each in watched(city, tmp_path).findings} == {Rule.RECEIPT_OVERDUE, Rule.RELEASE_OVERDUE}
    incident = st.Incident(**city.head(H1), query=question.id.hex(), code="node.incomplete")
    city.log_entry(city.sign(incident, city.hospitals[H1].identity))
    city.checkpoint()
    assert watched(city, tmp_path).is_verified


def test_an_emergency_without_its_review_is_overdue_until_it_is_reviewed(city: City, tmp_path: Path) -> None:
    question = Question(city, city.opener(), purpose="outbreak")
    question.live()
    city.now += 3600 * CONTRACT.review_hours - 1
    city.checkpoint()
    assert watched(city, tmp_path).is_verified
    city.now += 1
    city.checkpoint()
    found = watched(city, tmp_path).findings
    assert [(each.rule, each.detail) for each in found] == [(Rule.REVIEW_OVERDUE, question.id.hex())]
    assert found[0].index == city.view().seen_ids[question.id]
    review = st.Review(**city.head(AUDITOR), target=question.id.hex(), verdict="not_in_order", note="not needed")
    city.log_entry(city.sign(review, city.approval))
    city.checkpoint()
    assert watched(city, tmp_path).is_verified


def test_a_statement_dated_before_the_last_checkpoint_was_not_there_then(city: City, tmp_path: Path) -> None:
    question = Question(city, city.opener())
    city.checkpoint()
    assert watched(city, tmp_path).is_verified
    city.now += 7200
    city.checkpoint()
    assert watched(city, tmp_path).is_verified
    question.ready(H1, at=stamp(city.now - 7000))
    city.checkpoint()
    assert [each.rule for each in watched(city, tmp_path).findings] == [Rule.BACKDATED]


def test_a_review_that_was_made_late_and_dated_in_time_is_found(city: City, tmp_path: Path) -> None:
    question = Question(city, city.opener(), purpose="outbreak")
    question.live()
    in_time = city.now
    city.now += 3600 * (CONTRACT.review_hours + 1)
    city.checkpoint()
    assert [each.rule for each in watched(city, tmp_path).findings] == [Rule.REVIEW_OVERDUE]
    head = {**city.head(AUDITOR), "at": stamp(in_time)}
    review = st.Review(**head, target=question.id.hex(), verdict="in_order", note="seen")
    city.log_entry(city.sign(review, city.approval))
    city.checkpoint()
    assert [each.rule for each in watched(city, tmp_path).findings] == [Rule.BACKDATED]


def test_a_statement_dated_after_its_witness_is_found(city: City, tmp_path: Path) -> None:
    question = Question(city, city.opener())
    question.ready(H1, at=stamp(city.now + 61))
    city.checkpoint()
    assert [each.rule for each in watched(city, tmp_path).findings] == [Rule.POSTDATED]


def test_a_round_says_in_one_line_what_to_look_at(city: City, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch(str(city.folder), city.trust, Audit(Mirror(tmp_path / "mirror")), 3600)
    assert (watch.once(city.now).alert, watch.once(city.now).exit_code) == (None, 0)
    stale = watch.once(city.now + 3601)
    assert (stale.alert, stale.exit_code) == ("ledger.stale", 3)
    away = Watch(str(tmp_path / "nowhere"), city.trust, watch.audit, 3600).once(city.now)
    assert (away.alert, away.exit_code, away.report) == ("ledger.unavailable", 3, None)
    arguments = ["monitor", str(city.folder), "--trust", str(trust(city, tmp_path)), "--mirror", str(tmp_path / "mirror"), "--json"]
    capsys.readouterr()
    assert run([*arguments, "--stale-after", str(10**9)]) == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["alert"], line["verified_to"], line["verdict"]) == (None, city.log.size, "verified")
    assert run(arguments) == 3
