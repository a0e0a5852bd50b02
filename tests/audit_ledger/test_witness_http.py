"""Log and witness over real HTTP on loopback: first contact, a kept connection, a restored memory, a lost log."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
import uvicorn

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.cosignature import WitnessKey
from audit_ledger.errors import (
    BadSignature,
    NoQuorum,
    Superseded,
    WitnessAhead,
    WitnessBehind,
    WitnessConflict,
    WitnessRefused,
    WitnessUnreachable,
)
from audit_ledger.note import Note
from audit_ledger.tiles import check_log
from audit_ledger.witness_client import WitnessClient
from audit_ledger.witness_http import MAX_BODY, witness_app
from audit_ledger.witness_store import WitnessStore
from tests.audit_ledger import known
from tests.audit_ledger.test_log import keyed, open_log
from tests.audit_ledger.test_witness import FailingCommit, open_witness


@contextmanager
def served(store: WitnessStore, port: int = 0) -> Iterator[str]:
    """The witness on a port of loopback, by default a free one."""
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(witness_app(store), log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        store.close()


def ask(url: str, method: str, path: str, body: bytes = b"") -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request(method, path, body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def test_a_log_is_cosigned_published_and_accepted_by_the_policy(tmp_path: Path) -> None:
    with open_log(tmp_path) as log, served(open_witness(tmp_path)) as url:
        client = WitnessClient(url, known.WITNESS_KEY)
        for size in (1, 2, 300):
            log.append(keyed(known.numbered(size - log.size, start=log.size))).result()
            note = log.checkpoint_covering(size)
            with pytest.raises(NoQuorum, match="cosigned by nobody"):
                known.POLICY.evaluate(note, known.TIME, 60)
            assert log.publish(note + client.cosign(note, log.consistency))
            cosigned = check_log(tmp_path / "public", known.POLICY)
            accepted = known.POLICY.accept(cosigned, known.TIME, 60)
            assert (accepted.checkpoint.size, accepted.witness_time, client.cosigned_size) == (size, known.TIME, size)
        shown, body = ask(url, "GET", f"/{known.ORIGIN_SHA256}/checkpoint")
        assert (shown.status, shown.getheader("Content-Type")) == (200, "text/plain; charset=utf-8")
        assert body == (tmp_path / "public/checkpoint").read_bytes()
        client.close()


def test_a_new_client_learns_the_size_from_the_witness(tmp_path: Path) -> None:
    with open_log(tmp_path) as log, served(open_witness(tmp_path)) as url:
        log.append(keyed(known.numbered(5))).result()
        WitnessClient(url, known.WITNESS_KEY).cosign(log.checkpoint_covering(5), log.consistency)
        log.append(keyed([b"more"])).result()
        fresh = WitnessClient(url, known.WITNESS_KEY)
        assert fresh.cosign(log.checkpoint_covering(6), log.consistency).startswith("— ".encode())
        with pytest.raises(WitnessConflict, match="did not last cosign 0") as conflict:
            fresh.add_checkpoint(0, [], log.checkpoint_covering(6))
        assert (conflict.value.size, conflict.value.status) == (6, 409)


def test_a_witness_restored_from_a_backup_is_noticed_and_pinned_by_hand(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(keyed(known.numbered(5))).result()
        with served(open_witness(tmp_path)) as url:
            WitnessClient(url, known.WITNESS_KEY).cosign(log.checkpoint_covering(5), log.consistency)
        shutil.copy(tmp_path / "witness.sqlite", tmp_path / "backup")
        log.append(keyed([b"more"])).result()
        note = log.checkpoint_covering(6)
        with served(open_witness(tmp_path)) as url:
            WitnessClient(url, known.WITNESS_KEY, 5).cosign(note, log.consistency)
        shutil.copy(tmp_path / "backup", tmp_path / "witness.sqlite")
        with served(store := open_witness(tmp_path)) as url:
            client = WitnessClient(url, known.WITNESS_KEY, 6)
            with pytest.raises(WitnessBehind, match="last cosigned size 5, but we hold its cosignature of size 6"):
                client.cosign(note, log.consistency)
            store.pin(Checkpoint.parse(Note.parse(note).text))
            assert client.cosign(note, log.consistency)


def test_a_log_that_lost_entries_is_noticed(tmp_path: Path) -> None:
    with served(open_witness(tmp_path)) as url:
        client = WitnessClient(url, known.WITNESS_KEY)
        with open_log(tmp_path) as log:
            log.append(keyed(known.numbered(5))).result()
            client.cosign(log.checkpoint_covering(5), log.consistency)
        (tmp_path / "restored").mkdir()
        with open_log(tmp_path / "restored") as log:
            log.append(keyed(known.numbered(3))).result()
            with pytest.raises(WitnessAhead, match="cosigned size 5, the log has 3"):
                WitnessClient(url, known.WITNESS_KEY).cosign(log.checkpoint_covering(3), log.consistency)
            with pytest.raises(Superseded, match="has cosigned 5 meanwhile"):
                client.cosign(log.checkpoint_covering(3), log.consistency)
            log.append(keyed([b"another", b"history", b"!"])).result()
            with pytest.raises(WitnessRefused, match="answered 422") as refused:
                client.cosign(log.checkpoint_covering(6), log.consistency)
            assert refused.value.status == 422


def test_a_connection_the_other_side_closed_is_opened_again(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        with served(open_witness(tmp_path)) as url:
            port = int(url.rpartition(":")[2])
            client = WitnessClient(url, known.WITNESS_KEY)
            client.cosign(log.checkpoint_covering(0), log.consistency)
        with pytest.raises(WitnessUnreachable, match="ConnectionRefusedError"):
            client.cosign(log.checkpoint_covering(0), log.consistency)
        log.append(keyed([b"a"])).result()
        with served(open_witness(tmp_path), port):
            assert client.cosign(log.checkpoint_covering(1), log.consistency)


def test_threads_share_one_client(tmp_path: Path) -> None:
    with open_log(tmp_path) as log, served(open_witness(tmp_path)) as url:
        client = WitnessClient(url, known.WITNESS_KEY)
        log.append(keyed(known.numbered(40))).result()
        note = log.checkpoint_covering(40)
        got: list[bytes] = []
        threads = [threading.Thread(target=lambda: got.append(client.cosign(note, log.consistency))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 8


def test_an_answer_that_another_key_signed_is_not_taken(tmp_path: Path) -> None:
    with open_log(tmp_path) as log, served(open_witness(tmp_path)) as url:
        note = log.checkpoint_covering(0)
        stranger = WitnessClient(url, WitnessKey.of("other.example", known.LOG_SIGNER.public_key()))
        with pytest.raises(BadSignature, match="without a cosignature of its key"):
            stranger.cosign(note, log.consistency)
        liar = WitnessKey.of(known.WITNESS_KEY.name, known.LOG_SIGNER.public_key())
        with pytest.raises(BadSignature, match="without a cosignature of its key"):
            WitnessClient(url, liar).cosign(note, log.consistency)


def test_requests_that_are_no_checkpoints_are_answered_as_the_specification_says(tmp_path: Path) -> None:
    with served(open_witness(tmp_path)) as url:
        assert ask(url, "POST", "/add-checkpoint", b"old 0\n")[0].status == 400
        answer, why = ask(url, "POST", "/add-checkpoint", b"x" * (MAX_BODY + 1))
        assert (answer.status, why) == (400, b"body is larger than 1048576 bytes\n")
        assert ask(url, "GET", "/add-checkpoint")[0].status == 405
        assert ask(url, "GET", f"/{known.ORIGIN_SHA256}/checkpoint")[0].status == 404
        assert ask(url, "GET", "/somewhere/checkpoint")[0].status == 404


def test_a_stopped_witness_answers_503(tmp_path: Path) -> None:
    with open_log(tmp_path) as log, served(open_witness(tmp_path, disk=FailingCommit(is_done=False))) as url:
        client = WitnessClient(url, known.WITNESS_KEY)
        with pytest.raises(WitnessRefused, match="answered 503"):
            client.cosign(log.checkpoint_covering(0), log.consistency)


@pytest.mark.parametrize("url", ["ftp://witness.example", "witness.example", "http://"])
def test_a_url_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="neither http nor https"):
        WitnessClient(url, known.WITNESS_KEY)
