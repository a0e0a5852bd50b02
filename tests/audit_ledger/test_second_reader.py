"""Our log, read by code that shares nothing with it; and the product's known answers, by the same second reader."""

import hashlib
from pathlib import Path

import pytest

from audit_ledger.proof import TlogProof
from tests.audit_ledger import known
from tests.audit_ledger.second_reader import check_proof, mth, read_log, subtree_message
from tests.audit_ledger.test_log import keyed, open_log, publish


@pytest.mark.parametrize("sizes", [(0, 1, 2, 255, 256, 257, 513), (65_535, 65_536, 65_537, 70_000)])
def test_a_reader_from_outside_reads_the_log_at_every_edge(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    with open_log(tmp_path) as log:
        for size in sizes:
            log.append(keyed(known.numbered(size - log.size, start=log.size))).result()
            ours = publish(log, tmp_path)
            assert read_log(tmp_path / "public", known.LOG_VKEY) == (size, ours.root)
            if size in known.NUMBERED_ROOTS:
                assert ours.root.hex() == known.NUMBERED_ROOTS[size]


def test_a_reader_from_outside_sees_a_changed_tile(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.append(keyed(known.numbered(300))).result()
        publish(log, tmp_path)
    tile = tmp_path / "public/tile/0/000"
    tile.write_bytes(tile.read_bytes()[:-1] + b"!")
    with pytest.raises(AssertionError):
        read_log(tmp_path / "public", known.LOG_VKEY)


def test_a_reader_from_outside_checks_the_known_proof_and_ours(tmp_path: Path) -> None:
    check_proof(known.PROOF, known.LEAVES[5], known.LOG_VKEY, known.WITNESS_VKEY)
    with open_log(tmp_path) as log:
        log.append(keyed(known.numbered(300))).result()
        note = log.checkpoint_covering(300)
        cosigned = note + known.WITNESS_KEY.cosign(note.partition(b"\n\n")[0] + b"\n", 7, known.WITNESS_SIGNER).encode()
        for index in (0, 1, 255, 256, 299):
            proof = TlogProof(index, tuple(log.proof(index, 300)), cosigned).encode()
            check_proof(proof, f"entry-{index}".encode(), known.LOG_VKEY, known.WITNESS_VKEY)
            with pytest.raises(AssertionError):
                check_proof(proof, b"another entry", known.LOG_VKEY, known.WITNESS_VKEY)


def test_the_roots_of_the_reference_leaves_are_those_of_the_definition() -> None:
    hashes = tuple(hashlib.sha256(b"\x00" + leaf).digest() for leaf in known.LEAVES)
    assert [mth(hashes[:size]).hex() for size in range(9)] == known.ROOTS


def test_the_message_of_an_ml_dsa_cosignature_is_the_known_one() -> None:
    message = subtree_message(known.WITNESS_KEY.name, known.TIME, known.ORIGIN, 0, 8, bytes.fromhex(known.ROOTS[8]))
    assert len(message) == 117
    assert hashlib.sha256(message).hexdigest() == known.ML_DSA_MESSAGE_SHA256
