"""A year ends: the next log is taken by those who followed the old one to its close, and by its rules alone; budgets go on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from audit_ledger.errors import NoQuorum, NotSuccessor
from audit_ledger.findings import Rule
from audit_ledger.follower import Follower
from audit_ledger.log import LogStore
from audit_ledger.note import KeyType, LogKey, Note, VerifierKey
from audit_ledger.witness import AddCheckpoint
from protocols import statements as st
from protocols.canonical import b64
from protocols.clock import stamp
from protocols.identity import Signer
from tests.support.city import AUDITOR, BUREAU, COORDINATOR, ORIGIN, City, Question, key

NEXT = "ledger.kapok.test/2027"
NEXT_KEY = key("next log")
NEXT_LOG = LogKey(VerifierKey(NEXT, KeyType.ED25519, NEXT_KEY.public))


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path / "old")
    yield made
    made.close()


def close_of(city: City, origin: str = NEXT, vkey: str = "") -> bytes:
    close = st.Close(**city.head(COORDINATOR), next_origin=origin, next_vkey=vkey or NEXT_LOG.vkey.encode())
    return city.sign(close, city.coordinator)


def closed(city: City) -> Follower:
    """A hospital that followed the old log to its end."""
    city.log_entry(close_of(city))
    follower = Follower(city.trust)
    assert follower.follow(*city.follow(0), city.now) == []
    return follower


@dataclass
class Year:
    """The next log, with its own key, the same witness, and an entry 0 in which a test may lie."""

    city: City
    path: Path
    lies: dict[str, Any] = field(default_factory=dict)
    signers: tuple[Signer, ...] = ()

    def __post_init__(self) -> None:
        city = self.city
        self.end = city.checkpoint()
        view = city.view()
        previous = {"origin": ORIGIN, "size": view.size, "root": view.range.root().hex(), "checkpoint": self.end.decode()}
        fields: dict[str, Any] = {
            **self.head(COORDINATOR),
            "auditor": AUDITOR,
            "auditor_root": b64(city.root.public),
            "coordinator": COORDINATOR,
            "coordinator_key": b64(key("coordinator of 2027").public),
            "previous": previous,
        }
        for name, value in self.lies.items():
            (previous if name in previous else fields)[name] = value
        signers = self.signers or (key("coordinator of 2027"), city.root)
        self.entry0 = city.sign(st.Root(**{**fields, "previous": fields["previous"] and st.PreviousLog(**previous)}), *signers)

    def head(self, by: str) -> dict[str, Any]:
        return {"log": NEXT, "at": stamp(self.city.now), "by": by}

    def follow(self, *entries: bytes) -> tuple[int, list[bytes], bytes]:
        """What a follower at size 0 is sent."""
        self.path.mkdir(exist_ok=True)
        self.city.witness.trust(NEXT_LOG)
        with LogStore(self.path / "log.sqlite", self.path / "ledger", NEXT_LOG, NEXT_KEY) as log:
            log.append([(st.parse(each).id, each) for each in (self.entry0, *entries)]).result()
            note = log.checkpoint_covering(log.size)
            latest = self.city.witness.latest(NEXT)
            old = latest.size if latest else 0
            answer = self.city.witness.add_checkpoint(AddCheckpoint(old, tuple(log.consistency(old, log.size)), note).encode())
            assert answer.status == 200
            return 0, log.entries(0, log.size), note + answer.body


def test_the_next_log_is_followed_with_nothing_told_by_hand(city: City, tmp_path: Path) -> None:
    old = closed(city)
    year = Year(city, tmp_path / "next")
    following = old.successor(year.entry0, city.now)
    hospital = next(iter(city.hospitals.values()))
    dataset = st.Dataset(**year.head(hospital.uri), tables=(), freshness="daily", static_blocks=())
    assert following.follow(*year.follow(city.sign(dataset, hospital.identity)), city.now) == []
    assert following.view.authority.origin == NEXT
    assert following.trust.policy.witnesses == city.trust.policy.witnesses
    assert following.trust.policy.quorum == city.trust.policy.quorum
    assert type(following.trust).parse(following.trust.encode()) == following.trust


def test_keys_policies_programmes_and_approvals_carry_over(city: City, tmp_path: Path) -> None:
    revoked = list(city.hospitals.values())[-1]
    city.revoke_key(revoked.uri, revoked.identity.public)
    city.hold(True)
    old = closed(city)
    year = Year(city, tmp_path / "next")
    following = old.successor(year.entry0, city.now)
    following.follow(*year.follow(), city.now)
    view = following.view
    assert view.authority.hospitals() == old.view.authority.hospitals()
    assert revoked.uri not in view.authority.hospitals()
    assert view.policies == old.view.policies
    assert set(view.programmes) == set(view.approvals) == {city.programme}
    assert view.is_held
    assert not view.is_closed
    assert (key_ := view.authority.active(COORDINATOR)) is not None
    assert key_.key == key("coordinator of 2027").public
    again = city.key_add(revoked.uri, "identity", revoked.identity, st.Licence(legal_name="another", number="another"))
    found = view.findings_for(st.parse(city.sign(again.model_copy(update={"log": NEXT}), revoked.identity, city.approval)))
    assert Rule.KEY_REUSED in {each.rule for each in found}  # revoked stays revoked


def test_a_new_year_is_no_new_budget(city: City, tmp_path: Path) -> None:
    question = Question(city, city.opener())
    uri = next(iter(city.hospitals))
    question.ready(uri)
    old = closed(city)
    assert old.view.accounts[uri].sequence == 1
    year = Year(city, tmp_path / "next")
    following = old.successor(year.entry0, city.now)
    query = question.query.model_copy(update={**year.head(BUREAU), "nonce": "5" * 64})
    entry = city.sign(query, city.bureau)
    assert following.follow(*year.follow(entry), city.now) == []
    account = following.view.accounts[uri]
    assert (account.sequence, account.totals) == (1, old.view.accounts[uri].totals)
    assert all(total > Decimal(0) for total in account.totals.values())
    ready = st.parse(question.readys[uri]).statement
    changes = {**year.head(uri), "query": st.parse(entry).hex_id, "seen": st.Seen(size=2, root=following.view.range.root().hex())}
    fresh_start = ready.model_copy(update={**changes, "sequence": 1})
    rules = {each.rule for each in following.view.findings_for(st.parse(city.sign(fresh_start, city.hospitals[uri].identity)))}
    assert {Rule.SEQUENCE, Rule.TOTALS} <= rules
    assert following.view.accounts[uri] is not old.view.accounts[uri]


def test_a_log_does_not_close_over_an_emergency_without_its_review_and_the_next_one_counts_it(city: City, tmp_path: Path) -> None:
    question = Question(city, city.opener(), purpose="outbreak")
    question.live()
    view = city.view()
    assert {each.rule for each in view.findings_for(st.parse(close_of(city)))} == {Rule.BREAK_GLASS}
    review = st.Review(**city.head(AUDITOR), target=question.id.hex(), verdict="in_order", note="seen")
    city.log_entry(city.sign(review, city.approval))
    old = closed(city)
    following = old.successor(Year(city, tmp_path / "next").entry0, city.now)
    assert following.view.emergencies_of_the_day(city.now + 86_399) == {question.id.hex()}, "the day's number goes on"
    assert following.view.overdue_reviews(city.now + 30 * 86_400) == [], "its review too"


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another origin": ({"log": "ledger.kapok.test/2028"}, "the close names ledger.kapok.test/2027"),
    "another auditor's root": ({"auditor_root": b64(key("a stranger").public)}, "another root key of the auditor"),
    "another auditor": ({"auditor": "kapok://auditor/other"}, "another auditor"),
    "another coordinator": ({"coordinator": "kapok://coordinator/other"}, "expected kapok://coordinator/gz"),
    "no end": ({"previous": None}, "no end of the log before"),
    "an earlier end": ({"size": 3}, "another end of the log before: size 3"),
    "the end of another history": ({"root": "0" * 64}, "another end of the log before"),
    "no checkpoint": ({"checkpoint": "not a note\n"}, "the final checkpoint: "),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_log_that_breaks_a_rule_is_not_taken(city: City, tmp_path: Path, lie: str) -> None:
    old = closed(city)
    changes, why = LIES[lie]
    with pytest.raises(NotSuccessor, match=why):
        old.successor(Year(city, tmp_path / "next", changes).entry0, city.now)


def test_every_broken_rule_is_named_at_once(city: City, tmp_path: Path) -> None:
    old = closed(city)
    lies = {"log": "ledger.kapok.test/2028", "coordinator": "kapok://coordinator/other", "size": 3}
    with pytest.raises(NotSuccessor) as refused:
        old.successor(Year(city, tmp_path / "next", lies).entry0, city.now)
    assert len(str(refused.value).split("; ")) == 3


def test_a_final_checkpoint_of_before_the_close_is_not_the_end(city: City, tmp_path: Path) -> None:
    early = city.checkpoint().decode()
    old = closed(city)
    with pytest.raises(NotSuccessor, match="the final checkpoint is of size"):
        old.successor(Year(city, tmp_path / "next", {"checkpoint": early}).entry0, city.now)


def test_a_final_checkpoint_that_nobody_cosigned_is_not_taken(city: City, tmp_path: Path) -> None:
    old = closed(city)
    alone = Note(Note.parse(city.checkpoint()).text, Note.parse(city.checkpoint()).signatures[:1]).encode().decode()
    with pytest.raises(NotSuccessor, match="cosigned by nobody"):
        old.successor(Year(city, tmp_path / "next", {"checkpoint": alone}).entry0, city.now)


def test_without_the_auditors_root_or_a_close_there_is_no_next_log(city: City, tmp_path: Path) -> None:
    follower = Follower(city.trust)
    follower.follow(*city.follow(0), city.now)
    with pytest.raises(NotSuccessor, match="not followed to its close"):
        follower.successor(Year(city, tmp_path / "open").entry0, city.now)
    old = closed(city)
    with pytest.raises(NotSuccessor, match="not signed by the auditor's root"):
        old.successor(Year(city, tmp_path / "next", signers=(key("coordinator of 2027"),)).entry0, city.now)
    with pytest.raises(NotSuccessor, match="is a close, expected a root"):
        old.successor(close_of(city), city.now)
    with pytest.raises(NotSuccessor, match="is no statement"):
        old.successor(b"{}", city.now)


def test_a_log_under_another_key_than_the_close_names_is_not_followed(city: City, tmp_path: Path) -> None:
    city.log_entry(close_of(city, vkey=LogKey(VerifierKey(NEXT, KeyType.ED25519, key("another").public)).vkey.encode()))
    old = Follower(city.trust)
    old.follow(*city.follow(0), city.now)
    year = Year(city, tmp_path / "next")
    following = old.successor(year.entry0, city.now)
    with pytest.raises(Exception, match="no signature of"):
        following.follow(*year.follow(), city.now)
    assert following.size == 0


def test_the_next_log_needs_the_same_quorum(city: City, tmp_path: Path) -> None:
    old = closed(city)
    year = Year(city, tmp_path / "next")
    following = old.successor(year.entry0, city.now)
    start, entries, note = year.follow()
    alone = Note(Note.parse(note).text, Note.parse(note).signatures[:1]).encode()
    with pytest.raises(NoQuorum, match="cosigned by nobody"):
        following.follow(start, entries, alone, city.now)


@pytest.mark.parametrize(
    ("origin", "vkey"),
    [
        (NEXT, "no key"),
        ("ledger.kapok.test/2028", NEXT_LOG.vkey.encode()),
        (ORIGIN, LogKey(VerifierKey(ORIGIN, KeyType.ED25519, NEXT_KEY.public)).vkey.encode()),
    ],
)
def test_a_close_that_names_no_next_log_closes_nothing(city: City, origin: str, vkey: str) -> None:
    city.log_entry(close_of(city, origin, vkey))
    assert {each.rule for each in city.findings()} == {Rule.WRONG_LOG}
    assert not city.view().is_closed
