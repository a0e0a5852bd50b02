"""What a hospital's gate costs before a question is acted on: proof, quorum, freshness, history, bytes and approval, nothing kept.

The ledger holds some thousands of entries, so that the proof has a path as long as a real one. What the process keeps of
signatures and statements that it saw before is forgotten before every turn.
"""

import statistics
import time

from audit_ledger import policy
from audit_ledger.checkpoint import Checkpoint, sign_checkpoint
from audit_ledger.follower import Follower
from audit_ledger.gate import Gate
from audit_ledger.note import Note
from audit_ledger.proof import TlogProof
from audit_ledger.tree import FullTree, inclusion_proof, leaf_hash
from protocols import identity
from protocols import statements as st
from simulations.bench.long_ledger import HOSPITALS, ORIGIN, START, Block, founding, key, keys, question, trust
from simulations.bench.rows import Row, load

ANSWERED, TURNS = 256, 200


def row() -> Row:
    """Raises RuntimeError where the gate does not let the question pass."""
    gate, entry, proof, now = _offer()
    spent = [_turn(gate, entry, proof, now) for _ in range(TURNS)]
    how = f"median of {TURNS} Offers in a ledger of {gate.follower.size} entries, nothing kept from the one before; {load()}"
    return Row.measured("gate check of one Offer", "ms", statistics.median(spent) * 1e3, how, bar="<= 1")


def _turn(gate: Gate, entry: bytes, proof: bytes, now: int) -> float:
    for kept in (st.parse, identity.verifies, policy._opened):  # noqa: SLF001 - the third of the caches that a process keeps
        kept.cache_clear()
    started = time.perf_counter()
    refusals = gate.pass_query(entry, proof, now).refusals
    took = time.perf_counter() - started
    if refusals:
        raise RuntimeError(f"the bench's own Offer does not pass: {[str(each.reason) for each in refusals]}")
    return took


def _offer() -> tuple[Gate, bytes, bytes, int]:
    """A gate that follows the ledger up to a question that nobody has answered yet, the question, its proof, and the time."""
    entries, tree = founding(), FullTree()
    tree.extend(map(leaf_hash, entries))
    block = Block(0, ANSWERED, st.parse(entries[-2]).hex_id, st.Seen(size=tree.size, root=tree.root().hex()))
    fresh = [entry for number in range(ANSWERED) for entry in question(number, block)]
    asked = question(ANSWERED, block)[0]
    tree.extend(map(leaf_hash, [*fresh, asked]))
    log, witness = keys()
    signed, now = sign_checkpoint(Checkpoint(ORIGIN, tree.size, tree.root()), log, key("log")), START + 20 + 30 * ANSWERED
    note = Note(signed.text, (*signed.signatures, witness.cosign(signed.text, now, key("witness")))).encode()
    follower = Follower(trust())
    if found := follower.follow(0, [*entries, *fresh, asked], note, now):
        raise RuntimeError(f"the bench's own ledger breaks a rule: {found[:3]}")
    index = tree.size - 1
    proof = TlogProof(index, tuple(inclusion_proof(index, tree.size, tree.read)), note).encode()
    return Gate(follower, HOSPITALS[0]), asked, proof, now
