"""What one whole question lets out of a hospital: not a random byte it drew, not its vector before noise or before masks."""

import base64
import os
from pathlib import Path

import pytest

from hospital_node.logs import configure, log
from hospital_node.plan import execute
from hospital_node.records.schema import open_read_only
from protocols import statements as st
from protocols.query import QuerySpec
from protocols.secagg.ring import into_ring
from tests.hospital_node.support.nodes import VISITS_BY_DISTRICT, Node, Nodes

WINDOW = 16
"""Bytes: by chance, two stretches of so many are alike in no run of any machine."""


class Kept:
    """The system's randomness, and all that was drawn of it."""

    def __init__(self) -> None:
        self.drawn: list[bytes] = []

    def __call__(self, size: int) -> bytes:
        self.drawn.append(os.urandom(size))
        return self.drawn[-1]


def _spellings(secret: bytes) -> list[bytes]:
    return [secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")[:-1], str(list(secret)).encode()]


def _secrets(node: Node, kept: Kept, ring: int) -> list[bytes]:
    with open_read_only(node.home / "records") as records:
        exact = execute(QuerySpec.from_fields(VISITS_BY_DISTRICT), records, bytes(32))
    assert exact.any()
    in_ring = into_ring(exact, ring).tobytes()
    listed = str(exact.tolist())
    vectors = [in_ring, in_ring.hex().encode(), exact.tobytes(), listed.encode(), listed.replace(" ", "").encode()]
    return vectors + [each for drawn in kept.drawn if len(drawn) >= WINDOW for each in _spellings(drawn[:WINDOW])]


@pytest.fixture
def outside(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> tuple[bytes, list[bytes]]:
    """All that leaves one hospital in a question: its log, its trace, what it signs, what it sends; and what must not be in it."""
    configure()
    world, kept = Nodes(tmp_path, 4), Kept()
    node = world.first()
    node.random, node.trace = kept, tmp_path / "trace.jsonl"
    node.restart()
    asking = world.ask()
    asking.all_ready()
    binding = asking.binding()
    request, masked = asking.request(binding)
    log.info("answered", query=asking.id.hex())
    sent = b"".join(part for seed in request.seeds for part in (seed.sealed, seed.receipt, seed.round_signature))
    said = "".join(capfd.readouterr())
    assert asking.id.hex() in said
    # Entries hold their payload in base64, which would hide what is in it.
    logged = [st.parse(entry).envelope.payload for entry in world.city.follow(0)[1]]
    told = b"\n".join([said.encode(), node.trace.read_bytes(), sent, masked[node.uri].tobytes(), *logged])
    must_not = _secrets(node, kept, binding.ring)
    world.close()
    return told, must_not


def test_no_seed_no_noise_and_no_vector_before_noise_leaves_a_hospital(outside: tuple[bytes, list[bytes]]) -> None:
    told, must_not = outside
    assert len(must_not) > 10
    assert [each for each in must_not if each in told] == []
