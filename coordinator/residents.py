"""The coordinator's part of counting residents: the masked sum goes to the auditor encrypted, and what comes back is counted.

The secret key stands in the register before the auditor is asked, so that a reply once given can be read after a crash, and is
deleted with the masked vectors as soon as the question has ended: key, vectors and the auditor's seeds together would show which
buckets of the city are filled, without noise. So such a release is not made again for an audit (`kapok-audit vectors`).
"""

import asyncio
import os
from collections.abc import Sequence

import numpy as np

from coordinator.ledger import CityLedger
from coordinator.opening import Auditor, OpeningRequest, require_committed
from coordinator.register import Contributed, Register
from privacy.union import auditor_tail, hospital_tail
from protocols.asked import Asked
from protocols.secagg.binding import Binding
from protocols.secagg.masks import vector_hash
from protocols.secagg.ring import Integers, Vector, dtype_of
from protocols.union import BadCiphertext, Counter
from protocols.union.zero_test import BLINDED_BYTES


async def counted(
    auditor: Auditor, ledger: CityLedger, register: Register, asked: Asked, binding: Binding, made: Sequence[Contributed]
) -> Integers:
    """Filled buckets of each cell, with the noise of both sides. Raises OpeningRefused, AuditorAway, BadCiphertext."""
    masked = {each.uri: np.frombuffer(each.masked, dtype_of(binding.ring)) for each in made}
    counter = Counter(os.urandom)
    secret = await asyncio.to_thread(register.counting_secret, binding.query, counter.secret.to_bytes(32))
    counter = Counter(os.urandom, int.from_bytes(secret))
    encrypted = await asyncio.to_thread(counter.encrypted, _sum(list(masked.values())))
    hashes = {uri: vector_hash(vector) for uri, vector in masked.items()}
    request = OpeningRequest(binding, made, hashes, asked.first_round, asked.last_round, counter.public, encrypted)
    reply = await auditor.open(request, ledger)
    require_committed(ledger.view, binding, reply)
    return await asyncio.to_thread(_counted, counter, reply, asked, binding)


def _sum(masked: Sequence[Vector]) -> Vector:
    """Modulo 2^32, by overflow."""
    total = masked[0].copy()
    for each in masked[1:]:
        np.add(total, each, out=total)
    return total


def _counted(counter: Counter, reply: bytes, asked: Asked, binding: Binding) -> Integers:
    [piece] = asked.pieces
    shape = asked.shape(len(binding.members), hospital_tail(piece.variance, binding.n, binding.c))
    own = auditor_tail(piece.variance)
    of_cell = (shape.width + 2 * own) * BLINDED_BYTES
    if len(reply) != shape.cells * of_cell:
        raise BadCiphertext(f"expected {shape.cells} blinded cells of {of_cell} bytes, got {len(reply)}")
    found = counter.not_zero([reply[at : at + of_cell] for at in range(0, len(reply), of_cell)])
    return np.array(found, np.int64) - (shape.offset + own)
