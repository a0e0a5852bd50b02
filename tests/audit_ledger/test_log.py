"""The append path without faults: order, identity, refusals, and what an open refuses to believe."""

import shutil
import sqlite3
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path

import pytest

from audit_ledger.checkpoint import Checkpoint, sign_checkpoint
from audit_ledger.errors import Busy, EntryTooLarge, LogLocked, LogStopped, NotOurs, RolledBack, TreeMismatch, WrongLogKey
from audit_ledger.log import Disk, LogStore
from audit_ledger.note import LogKey, Note
from audit_ledger.proof import TlogProof
from audit_ledger.tiles import check_log
from audit_ledger.tree import EMPTY_ROOT, leaf_hash, verify_consistency
from tests.audit_ledger import known


def keyed(entries: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    return [(sha256(entry).digest(), entry) for entry in entries]


def open_log(home: Path, disk: Disk | None = None, **options: float) -> LogStore:
    (home / "public").mkdir(exist_ok=True)
    return LogStore(home / "log.sqlite", home / "public", known.LOG_KEY, known.LOG_SIGNER, disk=disk, **options)  # type: ignore[arg-type]


def publish(log: LogStore, home: Path) -> Checkpoint:
    """Checkpoint, publish, and verify the whole log from its bytes."""
    assert log.publish(log.checkpoint_covering(log.size))
    return check_log(home / "public", known.UNWITNESSED).checkpoint


def test_the_log_grows_through_every_tile_edge_and_is_sound_after_each_step(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        assert publish(log, tmp_path) == Checkpoint(known.ORIGIN, 0, EMPTY_ROOT)
        for size in (1, 2, 255, 256, 257, 511, 513):
            positions = log.append(keyed(known.numbered(size - log.size, start=log.size))).result()
            assert positions == list(range(size - len(positions), size))
            root = publish(log, tmp_path).root
            if size in known.NUMBERED_ROOTS:
                assert root.hex() == known.NUMBERED_ROOTS[size]


def test_a_log_of_70000_entries_has_the_known_root_and_opens_again(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        for size in (65_535, 65_536, 65_537, 70_000):
            log.append(keyed(known.numbered(size - log.size, start=log.size))).result()
            assert publish(log, tmp_path).size == size
    with open_log(tmp_path) as log:
        assert log.size == log.published_size == 70_000
        log.append(keyed([b"one more"])).result()
        assert publish(log, tmp_path).size == 70_001
    assert Checkpoint.parse(Note.parse((tmp_path / "public/checkpoint").read_bytes()).text).size == 70_001


def test_a_key_logged_before_keeps_its_first_position_and_its_first_bytes(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        assert log.append(keyed([b"a", b"b", b"a", b"c"])).result() == [0, 1, 0, 2]
        assert log.append([(sha256(b"b").digest(), b"b in another spelling"), *keyed([b"d"])]).result() == [1, 3]
        assert log.entries(0, 4) == [b"a", b"b", b"c", b"d"]
        assert log.position_of(sha256(b"c").digest()) == 2
        assert log.position_of(sha256(b"x").digest()) is None
    with open_log(tmp_path) as log:
        assert log.append(keyed([b"c", b"e"])).result() == [2, 4]
        assert publish(log, tmp_path).size == 5


def test_appends_from_many_threads_get_each_position_once(tmp_path: Path) -> None:
    with open_log(tmp_path, max_waiting=1_000, batch_age_s=0.002) as log:
        found: list[Future[list[int]]] = []
        lists = [[keyed([f"{thread}-{number}".encode()]) for number in range(50)] for thread in range(4)]
        threads = [threading.Thread(target=lambda m=mine: found.extend(map(log.append, m))) for mine in lists]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(future.result()[0] for future in found) == list(range(200))
        assert publish(log, tmp_path).size == 200


def test_a_checkpoint_and_its_proofs_hold_for_an_entry(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(keyed(known.numbered(300))).result()
        note = log.checkpoint_covering(300)
        proof = TlogProof(137, tuple(log.proof(137, 300)), note)
        assert proof.verify(b"entry-137", known.UNWITNESSED, 0, None).checkpoint.size == 300
        log.append(keyed([b"more"])).result()
        assert log.checkpoint_covering(300) == note
        new = Checkpoint.parse(Note.parse(log.checkpoint_covering(301)).text)
        old = Checkpoint.parse(Note.parse(note).text)
        verify_consistency(300, 301, log.consistency(300, 301), old.root, new.root)


def test_asking_beyond_the_log_is_refused(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        for ask in (
            lambda: log.checkpoint_covering(1),
            lambda: log.proof(0, 1),
            lambda: log.consistency(0, 1),
            lambda: log.entries(0, 1),
        ):
            with pytest.raises(ValueError, match="log has 0 entries"):
                ask()
        with pytest.raises(ValueError, match=r"no entries -1\.\.0"):
            log.entries(-1, 0)


def test_an_entry_that_no_bundle_holds_is_refused_at_admission(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        with pytest.raises(EntryTooLarge, match="65536 bytes"):
            log.append(keyed([b"fits", bytes(65_536)]))
        with pytest.raises(ValueError, match="key of an entry has 3 bytes"):
            log.append([(b"abc", b"entry")])
        assert log.append(keyed([bytes(65_535), b""])).result() == [0, 1]
        assert publish(log, tmp_path).size == 2


class HeldDisk(Disk):
    """Lets no commit of the writer through until told."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def commit(self, connection: sqlite3.Connection) -> None:
        self.reached.set()
        assert self.go_on.wait(30)
        super().commit(connection)


def test_a_log_that_cannot_keep_up_says_busy_and_loses_nothing_it_took(tmp_path: Path) -> None:
    disk = HeldDisk()
    with open_log(tmp_path, disk, max_waiting=2) as log:
        disk.reached.clear()
        disk.go_on.clear()
        taken = [log.append(keyed([b"being written"]))]
        assert disk.reached.wait(30)
        taken += [log.append(keyed([f"waiting {number}".encode()])) for number in range(2)]
        with pytest.raises(Busy, match="2 appends waiting"):
            log.append(keyed([b"one too many"]))
        assert taken[1].cancel()
        disk.go_on.set()
        assert taken[0].result() == [0]
        assert taken[2].result() == [1]
        assert log.position_of(sha256(b"waiting 0").digest()) is None


def test_only_a_checkpoint_this_log_signed_is_published(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(keyed([b"a", b"b"])).result()
        ours = Note.parse(log.checkpoint_covering(2))
        fork = Checkpoint(known.ORIGIN, 2, leaf_hash(b"fork"))
        beyond = Checkpoint(known.ORIGIN, 3, leaf_hash(b"beyond"))
        other = LogKey.of("other.example", known.LOG_SIGNER.public_key())
        for note in (
            sign_checkpoint(fork, known.LOG_KEY, known.LOG_SIGNER),
            sign_checkpoint(beyond, known.LOG_KEY, known.LOG_SIGNER),
            sign_checkpoint(Checkpoint("other.example", 2, fork.root), other, known.LOG_SIGNER),
            Note(ours.text, (known.WITNESS_KEY.cosign(ours.text, 1, known.WITNESS_SIGNER),)),
        ):
            with pytest.raises(NotOurs, match="not a checkpoint this log signed"):
                log.publish(note.encode())
        assert not (tmp_path / "public/checkpoint").exists()
        cosigned = Note(ours.text, (*ours.signatures, known.WITNESS_KEY.cosign(ours.text, 1, known.WITNESS_SIGNER)))
        assert log.publish(cosigned.encode())
        assert (tmp_path / "public/checkpoint").read_bytes() == cosigned.encode()


def test_a_smaller_checkpoint_never_replaces_a_larger_one(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(keyed([b"a"])).result()
        small = log.checkpoint_covering(1)
        log.append(keyed([b"b"])).result()
        large = log.checkpoint_covering(2)
        assert log.publish(large)
        assert not log.publish(small)
        assert (tmp_path / "public/checkpoint").read_bytes() == large


def test_partials_go_only_when_their_full_tile_is_published(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(keyed(known.numbered(100))).result()
        publish(log, tmp_path)
        log.append(keyed(known.numbered(200, start=100))).result()
        note = log.checkpoint_covering(300)
        assert (tmp_path / "public/tile/0/000.p/100").exists()
        log.publish(note)
        assert not (tmp_path / "public/tile/0/000.p").exists()
        assert not (tmp_path / "public/tile/entries/000.p").exists()
        check_log(tmp_path / "public", known.UNWITNESSED)


def test_two_writers_are_kept_apart(tmp_path: Path) -> None:
    with open_log(tmp_path), pytest.raises(LogLocked, match="open for writing elsewhere"):
        open_log(tmp_path)
    open_log(tmp_path).close()


def test_a_closed_log_says_so(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    pending = log.append(keyed([b"finished before the end"]))
    log.close()
    assert pending.result() == [0]
    for ask in (lambda: log.append(keyed([b"x"])), lambda: log.entries(0, 1), lambda: log.checkpoint_covering(1)):
        with pytest.raises(LogStopped, match="closed"):
            ask()


def test_a_log_is_opened_with_the_key_it_was_made_with_or_not_at_all(tmp_path: Path) -> None:
    open_log(tmp_path).close()
    other = LogKey.of("other.example", known.LOG_SIGNER.public_key())
    with pytest.raises(WrongLogKey, match="made with key ledger"):
        LogStore(tmp_path / "log.sqlite", tmp_path / "public", other, known.LOG_SIGNER)


def test_a_signer_with_another_key_stops_the_log_before_anything_is_signed(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    with LogStore(tmp_path / "log.sqlite", tmp_path / "public", known.LOG_KEY, known.WITNESS_SIGNER) as log:
        log.append(keyed([b"a"])).result()
        with pytest.raises(LogStopped, match="BadSignature"):
            log.checkpoint_covering(1)
    with open_log(tmp_path) as log:
        assert publish(log, tmp_path).size == 1


def published_log(home: Path, size: int) -> None:
    with open_log(home) as log:
        log.append(keyed(known.numbered(size - log.size, start=log.size))).result()
        publish(log, home)


def test_a_database_restored_from_a_backup_is_noticed(tmp_path: Path) -> None:
    published_log(tmp_path, 5)
    shutil.copy(tmp_path / "log.sqlite", tmp_path / "backup")
    published_log(tmp_path, 9)
    shutil.copy(tmp_path / "backup", tmp_path / "log.sqlite")
    with pytest.raises(RolledBack, match="published checkpoint has size 9, our database reaches only to 5"):
        open_log(tmp_path)


def test_a_lost_database_beside_a_published_log_is_noticed(tmp_path: Path) -> None:
    published_log(tmp_path, 5)
    (tmp_path / "log.sqlite").unlink()
    with pytest.raises(RolledBack, match="reaches only to 0"):
        open_log(tmp_path)


def unlocked(home: Path) -> sqlite3.Connection:
    """The database as somebody with a shell sees it, triggers removed."""
    connection = sqlite3.connect(home / "log.sqlite", isolation_level=None)
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {trigger}")
    return connection


def test_a_changed_or_missing_entry_is_noticed_at_the_next_open(tmp_path: Path) -> None:
    published_log(tmp_path, 5)
    connection = unlocked(tmp_path)
    connection.execute("UPDATE entry SET bytes = x'00' WHERE position = 2")
    with pytest.raises(TreeMismatch, match="not the root of our entries"):
        open_log(tmp_path)
    unlocked(tmp_path).execute("DELETE FROM entry WHERE position = 2")
    with pytest.raises(RolledBack, match="entry 2 is missing"):
        open_log(tmp_path)


def test_lost_entries_at_the_end_are_noticed_at_the_next_open(tmp_path: Path) -> None:
    published_log(tmp_path, 5)
    unlocked(tmp_path).execute("DELETE FROM entry WHERE position = 4")
    with pytest.raises(RolledBack, match="signed checkpoint has size 5, our database reaches only to 4"):
        open_log(tmp_path)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE entry SET bytes = x'00'", "append-only"),
        ("DELETE FROM entry", "append-only"),
        ("INSERT INTO entry VALUES (7, zeroblob(32), x'00')", "not the next position"),
        ("INSERT OR REPLACE INTO entry VALUES (2, zeroblob(32), x'00')", "not the next position"),
        ("UPDATE checkpoint SET note = x'00'", "append-only"),
        ("DELETE FROM checkpoint", "append-only"),
        ("INSERT INTO checkpoint VALUES (5, x'00')", "not larger"),
        ("INSERT OR REPLACE INTO checkpoint VALUES (5, x'00')", "not larger"),
    ],
)
def test_the_database_refuses_to_change_its_past(tmp_path: Path, statement: str, why: str) -> None:
    published_log(tmp_path, 5)
    connection = sqlite3.connect(tmp_path / "log.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match=why):
        connection.execute(statement)
    connection.close()


def test_a_changed_edge_tile_is_noticed_and_a_missing_one_written_again(tmp_path: Path) -> None:
    published_log(tmp_path, 300)
    edge = tmp_path / "public/tile/entries/001.p/44"
    good = edge.read_bytes()
    edge.unlink()
    open_log(tmp_path).close()
    assert edge.read_bytes() == good
    edge.write_bytes(good[:-1] + b"!")
    with pytest.raises(TreeMismatch, match=r"entries/001\.p/44 is there with other bytes"):
        open_log(tmp_path)


def test_a_tile_that_is_there_with_other_bytes_stops_the_log(tmp_path: Path) -> None:
    published_log(tmp_path, 3)
    with open_log(tmp_path) as log:
        (tmp_path / "public/tile/0/000.p/4").write_bytes(b"late write of another attempt")
        assert log.append(keyed([b"x"])).result() == [3]
        signed = log.checkpoint_covering(4)
        with pytest.raises(LogStopped, match="TreeMismatch"):
            log.publish(signed)
        with pytest.raises(LogStopped, match="TreeMismatch"):
            log.append(keyed([b"y"]))


def test_the_triggers_do_not_hide_a_second_writer(tmp_path: Path) -> None:
    """A writer that got round the lock: the swap compares, the log stops."""
    published_log(tmp_path, 3)
    with open_log(tmp_path) as log:
        log.append(keyed([b"x"])).result()
        connection = sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)
        connection.execute("INSERT INTO checkpoint VALUES (4, x'00')")
        connection.close()
        with pytest.raises(LogStopped, match="another writer"):
            log.checkpoint_covering(4)
