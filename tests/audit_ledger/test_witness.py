"""The witness: each answer of add-checkpoint, one transaction, and a memory that is not lost unnoticed."""

import sqlite3
import threading
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_ledger.checkpoint import Checkpoint, sign_checkpoint
from audit_ledger.errors import MalformedRequest, WitnessStopped
from audit_ledger.log import Disk
from audit_ledger.note import LogKey, Note, SignatureLine
from audit_ledger.tree import EMPTY_ROOT, FullTree, consistency_proof, leaf_hash
from audit_ledger.witness import AddCheckpoint, Answer
from audit_ledger.witness_store import WitnessStore, origin_hash
from tests.audit_ledger import known

OTHER = LogKey.of("other.example/log", known.LOG_SIGNER.public_key())


def tree() -> FullTree:
    grown = FullTree()
    grown.extend(map(leaf_hash, known.LEAVES))
    return grown


TREE = tree()


def note_of(size: int, root: bytes | None = None, key: LogKey = known.LOG_KEY) -> Note:
    return sign_checkpoint(Checkpoint(key.origin, size, root or TREE.root(size)), key, known.LOG_SIGNER)


def body_of(old: int, size: int, key: LogKey = known.LOG_KEY) -> bytes:
    proof = consistency_proof(old, size, TREE.read)
    return AddCheckpoint(old, tuple(proof), note_of(size, key=key).encode()).encode()


def open_witness(home: Path, time: int = known.TIME, disk: Disk | None = None) -> WitnessStore:
    store = WitnessStore(home / "witness.sqlite", known.WITNESS_KEY, known.WITNESS_SIGNER, lambda: time, disk=disk)
    store.trust(known.LOG_KEY)
    return store


def test_the_body_of_the_vector_is_what_we_write() -> None:
    body = body_of(6, 8)
    assert sha256(body).hexdigest() == known.ADD_CHECKPOINT_SHA256
    assert AddCheckpoint.parse(body).encode() == body


def test_a_growing_log_is_cosigned_and_shown_to_monitors(tmp_path: Path) -> None:
    store = open_witness(tmp_path)
    assert origin_hash(known.ORIGIN) == known.ORIGIN_SHA256
    assert store.checkpoint(known.ORIGIN_SHA256) is None
    for old, new in ((0, 3), (3, 7), (7, 8)):
        answer = store.add_checkpoint(body_of(old, new))
        assert answer.status == HTTPStatus.OK
        cosigned = Note.parse(note_of(new).encode() + answer.body)
        assert known.WITNESS_KEY.cosigned_at(cosigned) == known.TIME
        assert store.checkpoint(known.ORIGIN_SHA256) == cosigned.encode()
    assert cosigned.encode() == known.PROOF.partition(b"\n\n")[2]
    store.close()


@pytest.mark.parametrize(("back_s", "status"), [(60, HTTPStatus.OK), (61, HTTPStatus.SERVICE_UNAVAILABLE)])
def test_a_clock_that_went_back_cosigns_nothing_until_it_is_right(tmp_path: Path, back_s: int, status: HTTPStatus) -> None:
    store = open_witness(tmp_path)
    assert store.add_checkpoint(body_of(0, 3)).status == HTTPStatus.OK
    store.close()
    store = open_witness(tmp_path, time=known.TIME - back_s)
    answer = store.add_checkpoint(body_of(3, 7))
    assert answer.status == status
    if status != HTTPStatus.OK:
        assert b"clock went back" in answer.body
        assert store.latest(known.ORIGIN) == Checkpoint(known.ORIGIN, 3, TREE.root(3))
        store.close()
        store = open_witness(tmp_path, time=known.TIME + 1)
        assert store.add_checkpoint(body_of(3, 7)).status == HTTPStatus.OK
    store.close()


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"", 400, "not an old size"),
        (body_of(3, 7).replace(b"old 3", b"old 03"), 400, "canonical decimal"),
        (body_of(3, 7).replace(b"old 3", b"old  3"), 400, "canonical decimal"),
        (body_of(3, 7).replace(b"old 3", b"new 3"), 400, "not an old size"),
        (body_of(3, 7).replace(b"\n\n", b"\n", 1), 400, "hash|base64|note"),
        (body_of(3, 7)[:-1], 400, "newline"),
        (b"old 3\n" + b"A" * 43 + b"=\n" * 1 + b"\n" + note_of(7).text, 400, "no signature"),
        (b"old 3\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + note_of(7).encode(), 400, "more than 63 proof lines"),
        (body_of(0, 3, OTHER), 404, "not one this witness knows"),
        (AddCheckpoint(3, (), note_of(2).encode()).encode(), 400, "above the checkpoint's 2"),
        (body_of(2, 7), 409, "3\n"),
        (body_of(0, 7), 409, "3\n"),
        (AddCheckpoint(3, (), note_of(7).encode()).encode(), 422, "has 0 hashes"),
        (AddCheckpoint(3, (bytes(32),) * 4, note_of(7).encode()).encode(), 422, "does not lead"),
        (AddCheckpoint(3, (bytes(32),), note_of(3).encode()).encode(), 422, "has 1 hashes"),
        (AddCheckpoint(3, (), note_of(3, TREE.root(4)).encode()).encode(), 422, "two roots at one size 3"),
    ],
)
def test_what_does_not_extend_the_last_tree_is_refused_with_its_code(tmp_path: Path, body: bytes, status: int, why: str) -> None:
    store = open_witness(tmp_path)
    assert store.add_checkpoint(body_of(0, 3)).status == HTTPStatus.OK
    answer = store.add_checkpoint(body)
    assert answer.status == status
    assert any(part in answer.body.decode() for part in why.split("|"))
    assert answer.media_type == ("text/x.tlog.size" if status == 409 else "text/plain; charset=utf-8")
    assert store.latest(known.ORIGIN) == Checkpoint(known.ORIGIN, 3, TREE.root(3))
    store.close()


def test_a_checkpoint_without_a_true_log_signature_is_forbidden(tmp_path: Path) -> None:
    store = open_witness(tmp_path)
    text = note_of(3).text
    stranger = SignatureLine("stranger.example", b"\x01\x02\x03\x04", bytes(64))
    lie = SignatureLine(known.ORIGIN, known.LOG_KEY.vkey.key_id, bytes(64))
    for lines in ((stranger,), (lie,), (*note_of(3).signatures, lie)):
        answer = store.add_checkpoint(AddCheckpoint(0, (), Note(text, lines).encode()).encode())
        assert answer.status == HTTPStatus.FORBIDDEN
    assert store.latest(known.ORIGIN) is None
    good = Note(text, (stranger, *note_of(3).signatures))
    assert store.add_checkpoint(AddCheckpoint(0, (), good.encode()).encode()).status == HTTPStatus.OK
    assert store.checkpoint(known.ORIGIN_SHA256) is not None
    assert b"stranger" not in (store.checkpoint(known.ORIGIN_SHA256) or b"")
    store.close()


def test_the_empty_tree_is_cosigned_with_its_one_root_and_no_proof(tmp_path: Path) -> None:
    store = open_witness(tmp_path)
    for refused in (
        AddCheckpoint(0, (), note_of(0, leaf_hash(b"x")).encode()),
        AddCheckpoint(0, (bytes(32),), note_of(3).encode()),
        AddCheckpoint(0, (bytes(32),), note_of(0).encode()),
    ):
        assert store.add_checkpoint(refused.encode()).status == HTTPStatus.UNPROCESSABLE_ENTITY
    assert store.add_checkpoint(body_of(0, 0)).status == HTTPStatus.OK
    assert store.latest(known.ORIGIN) == Checkpoint(known.ORIGIN, 0, EMPTY_ROOT)
    assert store.add_checkpoint(body_of(0, 3)).status == HTTPStatus.OK
    store.close()


def test_the_same_tree_again_gets_a_fresh_timestamp(tmp_path: Path) -> None:
    open_witness(tmp_path).add_checkpoint(body_of(0, 3))
    store = open_witness(tmp_path, time=known.TIME + 60)
    answer = store.add_checkpoint(body_of(3, 3))
    assert answer.status == HTTPStatus.OK
    assert known.WITNESS_KEY.cosigned_at(Note.parse(note_of(3).encode() + answer.body)) == known.TIME + 60


def test_logs_do_not_mix(tmp_path: Path) -> None:
    store = open_witness(tmp_path)
    store.trust(OTHER)
    assert store.add_checkpoint(body_of(0, 7)).status == HTTPStatus.OK
    assert store.add_checkpoint(body_of(0, 3, OTHER)).status == HTTPStatus.OK
    store.close()
    store = open_witness(tmp_path)
    assert (store.latest(known.ORIGIN), store.latest(OTHER.origin)) == (
        Checkpoint(known.ORIGIN, 7, TREE.root(7)),
        Checkpoint(OTHER.origin, 3, TREE.root(3)),
    )
    assert store.add_checkpoint(body_of(3, 8, OTHER)).status == HTTPStatus.OK
    store.close()


def test_a_log_that_another_process_trusted_meanwhile_is_cosigned_without_a_restart(tmp_path: Path) -> None:
    store, beside = open_witness(tmp_path), open_witness(tmp_path)
    assert store.add_checkpoint(body_of(0, 3, OTHER)).status == HTTPStatus.NOT_FOUND
    beside.trust(OTHER)
    assert store.add_checkpoint(body_of(0, 3, OTHER)).status == HTTPStatus.OK
    assert {each.origin for each in store.logs()} == {known.ORIGIN, OTHER.origin}
    for each in (store, beside):
        each.close()


def test_a_pinned_log_starts_from_its_pin_only(tmp_path: Path) -> None:
    store = open_witness(tmp_path)
    store.pin(Checkpoint(known.ORIGIN, 6, TREE.root(6)))
    assert store.add_checkpoint(body_of(0, 8)).body == b"6\n"
    assert store.checkpoint(known.ORIGIN_SHA256) is None
    assert store.add_checkpoint(body_of(6, 8)).status == HTTPStatus.OK
    with pytest.raises(sqlite3.IntegrityError, match="never goes back"):
        store.pin(Checkpoint(known.ORIGIN, 6, TREE.root(6)))
    with pytest.raises(sqlite3.IntegrityError, match="never goes back"):
        store.pin(Checkpoint(known.ORIGIN, 8, TREE.root(6)))
    store.close()


@pytest.mark.parametrize("statement", ["DELETE FROM latest", "UPDATE latest SET size = 2", "UPDATE latest SET root = zeroblob(32)"])
def test_the_memory_refuses_to_shrink(tmp_path: Path, statement: str) -> None:
    open_witness(tmp_path).add_checkpoint(body_of(0, 3))
    connection = sqlite3.connect(tmp_path / "witness.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="a witness never"):
        connection.execute(statement)
    connection.close()


def test_of_two_racing_requests_one_wins_and_the_tree_never_goes_back(tmp_path: Path) -> None:
    """Two stores over one file, as two processes would be; many rounds from the same old size."""
    for number in range(20):
        home = tmp_path / str(number)
        home.mkdir()
        stores = [open_witness(home), open_witness(home)]
        assert stores[0].add_checkpoint(body_of(0, 3)).status == HTTPStatus.OK
        start = threading.Barrier(2)
        answers: dict[int, Answer] = {}

        def race(store: WitnessStore, size: int, start: threading.Barrier, answers: dict[int, Answer]) -> None:
            start.wait()
            answers[size] = store.add_checkpoint(body_of(3, size))

        threads = [threading.Thread(target=race, args=(stores[at], 7 + at, start, answers)) for at in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [size for size, answer in answers.items() if answer.status == HTTPStatus.OK]
        assert len(won) == 1
        assert answers[15 - won[0]] == Answer(HTTPStatus.CONFLICT, f"{won[0]}\n".encode(), "text/x.tlog.size")
        assert stores[0].latest(known.ORIGIN) == Checkpoint(known.ORIGIN, won[0], TREE.root(won[0]))
        for store in stores:
            store.close()


class FailingCommit(Disk):
    """The first commit fails, all others go well."""

    def __init__(self, is_done: bool) -> None:
        self._is_done = is_done
        self._has_failed = False

    def commit(self, connection: sqlite3.Connection) -> None:
        fails, self._has_failed = not self._has_failed, True
        if self._is_done or not fails:
            super().commit(connection)
        if fails:
            raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize("is_done", [False, True], ids=["refused", "done-but-reported-failed"])
def test_a_witness_that_cannot_remember_answers_nobody(tmp_path: Path, is_done: bool) -> None:
    store = open_witness(tmp_path, disk=FailingCommit(is_done))
    for _ in range(2):
        with pytest.raises(WitnessStopped, match="has stopped"):
            store.add_checkpoint(body_of(0, 3))
    store.close()
    store = open_witness(tmp_path)
    again = store.add_checkpoint(body_of(3, 3) if is_done else body_of(0, 3))
    assert again.status == HTTPStatus.OK
    store.close()


@given(
    st.binary(max_size=80) | st.builds(lambda h, t: b"old 3\n" + h + b"\n\n" + t, st.binary(max_size=50), st.binary(max_size=20))
)
def test_any_body_is_malformed_or_has_one_spelling(raw: bytes) -> None:
    try:
        request = AddCheckpoint.parse(raw)
    except MalformedRequest:
        return
    assert request.encode() == raw
