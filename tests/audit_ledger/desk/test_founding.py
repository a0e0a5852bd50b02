"""How an auditor begins: keys, shares of the root key, the card, and the countersigned start of a log."""

import json
from itertools import combinations
from pathlib import Path

import pytest

from audit_ledger.cosignature import parse_witness_key
from audit_ledger.init import BadDraft, BadShares, Share, combine, create_auditor, found, split
from audit_ledger.main import run
from audit_ledger.party.home import Home
from audit_ledger.tree import leaf_hash
from audit_ledger.view import LedgerView
from protocols.canonical import b64
from protocols.identity import SigningKey, fingerprint
from protocols.statements import Root
from tests.support.city import COORDINATOR, ORIGIN, key


def draft(home: Home, **changes: str) -> bytes:
    root = Root(
        log=ORIGIN,
        at="2026-11-23T08:00:00Z",
        by=COORDINATOR,
        auditor="kapok://auditor/gz",
        auditor_root=b64(home.key("root").public),
        coordinator=COORDINATOR,
        coordinator_key=b64(key("coordinator").public),
        previous=None,
    )
    return root.model_copy(update=changes).envelope().signed([key("coordinator")]).encode()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    with pytest.raises(BadShares):
        create_auditor(Home(tmp_path / "A"), "gz", 2, 3)
    assert not (tmp_path / "A").exists(), "a refused number of shares leaves no half-made home behind"
    create_auditor(Home(tmp_path / "A"), "gz", 3, 2)
    return Home(tmp_path / "A")


def test_any_threshold_of_shares_restores_the_root_key_and_fewer_do_not() -> None:
    root = SigningKey.generate()
    shares = [Share.parse(each.encode()) for each in split(root, 3, 5)]
    for some in combinations(shares, 3):
        assert combine(list(some)).seed() == root.seed()
    with pytest.raises(BadShares, match="3 different ones are needed, got 2"):
        combine([shares[0], shares[1], shares[0]])


def test_shares_of_two_keys_and_miscopied_ones_are_refused() -> None:
    one, two = (split(SigningKey.generate(), 2, 3) for _ in range(2))
    with pytest.raises(BadShares, match="different keys"):
        combine([one[0], two[1]])
    text = one[0].encode()
    with pytest.raises(BadShares, match="copied wrongly"):
        Share.parse(text[:30] + ("A" if text[30] != "A" else "B") + text[31:])
    with pytest.raises(BadShares, match="threshold"):
        split(SigningKey.generate(), 1, 3)


def test_init_writes_keys_card_and_shares_and_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "A"
    assert run(["init", "--home", str(place), "--name", "gz"]) == 0
    card = json.loads((place / "auditor.json").read_bytes())
    assert set(card) == {"uri", "name", "root", "approval", "service", "witness_vkey"}
    assert parse_witness_key(card["witness_vkey"]).name == "gz.witness.kapok"
    for name in ("keys/root.key", "keys/witness.key", "share-1.txt", "share-3.txt"):
        assert (place / name).stat().st_mode & 0o077 == 0
    root = Home(place).key("root")
    assert run(["init", "--home", str(place), "--name", "gz"]) == 2
    assert "not overwritten" in capsys.readouterr().err
    (place / "keys" / "root.key").unlink()
    shares = [argument for number in (1, 3) for argument in ("--restore", str(place / f"share-{number}.txt"))]
    assert run(["init", "--home", str(place), *shares]) == 0
    assert Home(place).key("root").seed() == root.seed()


def test_the_founding_file_founds_a_log_without_a_finding(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "draft.json").write_bytes(draft(home))
    assert run(["found", str(tmp_path / "draft.json"), "--home", str(home.path), "--out", str(tmp_path / "founding.json")]) == 0
    entries = [each.encode() for each in json.loads((tmp_path / "founding.json").read_bytes())]
    view = LedgerView(leaf_hash(entries[0]))
    assert [found for entry in entries for found in view.apply(entry)] == []
    for use in ("approval", "service"):
        active = view.authority.active("kapok://auditor/gz", use)
        assert active is not None
        assert active.key == home.key(use).public
    shown = capsys.readouterr().out
    assert fingerprint(home.key("root").public) in shown
    assert fingerprint(key("coordinator").public) in shown


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"auditor": "kapok://auditor/another"}, "another root key than ours"),
        ({"auditor_root": b64(bytes(32))}, "another root key than ours"),
        ({"coordinator_key": b64(key("another").public)}, "not signed by the coordinator's key"),
        ({"by": "kapok://coordinator/another"}, "not signed by the coordinator's key"),
    ],
)
def test_a_draft_that_is_not_for_this_auditor_is_not_countersigned(home: Home, changes: dict[str, str], expected: str) -> None:
    with pytest.raises(BadDraft, match=expected):
        found(home, draft(home, **changes))


def test_a_draft_of_another_kind_or_none_is_a_usage_error(home: Home, tmp_path: Path) -> None:
    (tmp_path / "no.json").write_bytes(b"{}")
    assert run(["found", str(tmp_path / "no.json"), "--home", str(home.path), "--out", str(tmp_path / "o")]) == 2
    assert not (tmp_path / "o").exists()
