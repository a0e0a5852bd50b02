"""A valid ledger of any length, for the audit's benchmark: founded, then question after question, each of 15 signed entries.

Every signature is real and every rule holds. Members' vectors and seeds are not made: an entry holds only their hashes.
Questions are written by all cores, a block at a time, since the Readys of a block name the tree before it; the folder is kept.
"""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from audit_ledger.checkpoint import Checkpoint, sign_checkpoint
from audit_ledger.cosignature import WitnessKey
from audit_ledger.note import KeyType, LogKey, Note, VerifierKey
from audit_ledger.policy import Log, Policy, TrustFile, Witness
from audit_ledger.tiles import CHECKPOINT_PATH, WIDTH, Tile, TileStack, encode_bundle, write_tile
from audit_ledger.tree import leaf_hash, subtree_root
from privacy.filter import encode_charge
from privacy.pricing import Price, price
from protocols import statements as st
from protocols.asked import Asked
from protocols.canonical import b64
from protocols.clock import month, stamp, unix
from protocols.contract import CONTRACT, colluders
from protocols.identity import SigningKey
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.binding import Binding, Member
from protocols.secagg.sealing import SealingKey

ORIGIN = "ledger.kapok.bench/2026"
START = unix("2026-11-02T00:00:00Z")
AUDITOR, COORDINATOR, BUREAU = "kapok://auditor/gz", "kapok://coordinator/gz", "kapok://bureau/cdc"
HOSPITALS = tuple(f"kapok://hospital/h{n:02d}" for n in range(1, 7))
PER_QUESTION = 3 + 2 * len(HOSPITALS)
QUESTIONS_A_BLOCK = 256
SPEC = {
    "version": 1, "table": "visits", "measures": [{"kind": "count", "hi": 1}], "keys": [{"key": "district"}, {"key": "iso_week"}],
    "where": [], "period": {"from": "2026-10-01", "to": "2026-12-01"}, "cells_per_patient": 4, "bound": "block",
}  # fmt: skip
VARIANCE = "16777216.0000"  # so much that a million entries stay within the budget


@cache
def key(name: str) -> SigningKey:
    """The same in every run and process: these keys guard nothing."""
    return SigningKey.from_seed(hashlib.sha256(b"bench " + name.encode()).digest())


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@cache
def agreement(uri: str) -> AgreementKey:
    return AgreementKey(hashlib.sha256(b"agreement " + uri.encode()).digest(), month(START))


@cache
def certificates(uri: str) -> tuple[st.Agreement, st.Sealing]:
    sealing = SealingKey.from_bytes(hashlib.sha256(b"sealing").digest(), month(START))
    return agreement(uri).certificate(ORIGIN, uri, key(uri)), sealing.certificate(ORIGIN, key("service"))


def head(by: str, at: int = START) -> dict[str, Any]:
    return {"log": ORIGIN, "at": stamp(at), "by": by}


def signed(statement: st.Statement, *signers: SigningKey) -> bytes:
    return statement.envelope().signed(signers).encode()


def founding() -> list[bytes]:
    root = st.Root(
        **head(COORDINATOR), auditor=AUDITOR, auditor_root=b64(key("root").public), coordinator=COORDINATOR,
        coordinator_key=b64(key("coordinator").public), previous=None,
    )  # fmt: skip
    programme = signed(_programme(), key("bureau"))
    approval = st.Approval(**head(AUDITOR), target=st.parse(programme).hex_id, until=stamp(START + 86_400 * 300))
    return [
        signed(root, key("coordinator"), key("root")),
        *(signed(_key_add(AUDITOR, use, use), key(use), key("root")) for use in ("approval", "service")),
        signed(_key_add(BUREAU, "identity", "bureau"), key("bureau"), key("approval")),
        *(signed(_key_add(uri, "identity", uri), key(uri), key("approval")) for uri in HOSPITALS),
        *(signed(_policy(uri), key(uri)) for uri in HOSPITALS),
        programme,
        signed(approval, key("approval")),
    ]


def _programme() -> st.Programme:
    return st.Programme(
        **head(BUREAU), title="influenza-like illness", purpose="surveillance", tables=("visits",), max_price="1.000000000",
        until=stamp(START + 86_400 * 365),
    )  # fmt: skip


def _key_add(subject: str, use: Any, name: str) -> st.KeyAdd:
    licence = None if subject == AUDITOR else st.Licence(legal_name=f"legal name of {subject}", number=f"licence of {subject}")
    return st.KeyAdd(
        **head(subject), action="add", subject=subject, use=use, key=b64(key(name).public), licence=licence, outbreak=False
    )


def _policy(uri: str) -> st.Policy:
    purposes = ("surveillance", "research", "outbreak")
    limits = {each: f"{float(CONTRACT.limit(each)):.9f}" for each in purposes}
    peers = tuple(sorted(digest(each) for each in HOSPITALS))
    return st.Policy(
        **head(uri), policy_sha256=digest("policy"), order=CONTRACT.order, floor=CONTRACT.floor, purposes=purposes,
        tables=("visits",), limits=limits, peers=peers,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Block:
    """Questions [first, last), asked and answered under one checkpoint."""

    first: int
    last: int
    programme: str
    seen: st.Seen


def block_entries(block: Block) -> list[bytes]:
    return [entry for number in range(block.first, block.last) for entry in question(number, block)]


def question(number: int, block: Block) -> list[bytes]:
    at = START + 10 + 30 * number
    query = signed(_query(number, at, block.programme), key("bureau"))
    asked = st.parse(query).hex_id
    readys = {uri: signed(_ready(uri, number, at, asked, block.seen), key(uri)) for uri in HOSPITALS}
    bound = _binding(at, asked, readys)
    named: dict[str, Any] = {"query": asked, "attempt": 1}
    rounds: dict[str, Any] = {"first_round": 0, "last_round": 0}
    opening = st.Opening(
        **head(AUDITOR, at + 2), **named, **rounds, preimage=b64(bound.encode()), stream_sum=digest("sum", number), seen=block.seen
    )
    u = bound.value.hex()
    receipts = [
        st.Receipt(
            **head(uri, at + 1), **named, **rounds, binding=u, sealed=digest("s", uri, number), masked=digest("m", uri, number)
        )
        for uri in HOSPITALS
    ]
    release = st.Release(
        **head(COORDINATOR, at + 3), **named, round=0, status="released", binding=u, values=digest("values", number),
        answered=HOSPITALS, refused=(), away=(), left_out=(),
    )  # fmt: skip
    return [
        query, *readys.values(), signed(opening, key("service")), *(signed(each, key(each.by)) for each in receipts),
        signed(release, key("coordinator")),
    ]  # fmt: skip


def _query(number: int, at: int, programme: str) -> st.Query:
    return st.Query(
        **head(BUREAU, at), nonce=digest("nonce", number), purpose="surveillance", programme=programme, audience=HOSPITALS,
        floor=CONTRACT.floor, valid_until=stamp(at + 86_400), rounds=1, spec=SPEC, variances=(VARIANCE,),
    )  # fmt: skip


def _ready(uri: str, number: int, at: int, query: str, seen: st.Seen) -> st.Ready:
    certificate, sealing = certificates(uri)
    asked, cost = _costs()
    one, two = (encode_charge(each) for each in (cost.one, cost.two))
    totals, totals_two = ((encode_charge(each * (number + 1)),) * len(asked.blocks) for each in (cost.one, cost.two))
    charge = st.Charge(purpose="surveillance", price=one, price_two=two, blocks=asked.blocks, totals=totals, totals_two=totals_two)
    return st.Ready(
        **head(uri, at + 1), query=query, first_round=0, last_round=0, sequence=number + 1, not_after=stamp(at + CONTRACT.window_s),
        agreement=certificate, sealing=sealing, charge=charge, seen=seen,
    )  # fmt: skip


@cache
def _costs() -> tuple[Asked, Price]:
    """Every question's shape and price: they differ in nonce and date alone."""
    asked = Asked.of(_query(0, START, digest("programme")))
    return asked, price(CONTRACT.order, asked.pieces)


def _binding(at: int, query: str, readys: dict[str, bytes]) -> Binding:
    members = tuple(Member(uri, agreement(uri).public, st.parse(entry).id) for uri, entry in sorted(readys.items()))
    asked = _costs()[0]
    return Binding(
        origin=ORIGIN, query=bytes.fromhex(query), round=0, attempt=1, input_hash=b"", dimension=asked.dimension, ring=32, scale=1,
        variances=asked.variances, n=len(members), c=colluders(len(members)), not_after=at + CONTRACT.window_s, members=members,
        counting=HOSPITALS,
    )  # fmt: skip


def trust() -> TrustFile:
    log, witness = keys()
    return TrustFile(Policy((Log(log),), (Witness("gz", witness),), (), "gz"), leaf_hash(founding()[0]))


def keys() -> tuple[LogKey, WitnessKey]:
    log = LogKey(VerifierKey(ORIGIN, KeyType.ED25519, key("log").public))
    return log, WitnessKey(VerifierKey("auditor.kapok.bench", KeyType.COSIGNATURE_ED25519, key("witness").public))


class _Folder:
    """Writes a log's files as its entries come."""

    def __init__(self, path: Path) -> None:
        self.path, self.stack, self._open = path, TileStack(), list[bytes]()

    def write(self, entries: Sequence[bytes]) -> None:
        self._open += entries
        while len(self._open) >= WIDTH:
            self._bundle(self._open[:WIDTH])
            del self._open[:WIDTH]
        if self._open:
            self._bundle(self._open)

    def _bundle(self, entries: Sequence[bytes]) -> None:
        leaves, index = b"".join(leaf_hash(each) for each in entries), self.stack.size // WIDTH
        for tile, content in ((Tile(None, index, len(entries)), encode_bundle(entries)), (Tile(0, index, len(entries)), leaves)):
            write_tile(self.path, tile, content)
        self.stack.add(leaves, subtree_root(leaves) if len(entries) == WIDTH else b"", self._tile)

    def _tile(self, tile: Tile, content: bytes) -> None:
        write_tile(self.path, tile, content)

    def publish(self, at: int) -> None:
        self.stack.finish(self._tile)
        log, witness = keys()
        note = sign_checkpoint(Checkpoint(ORIGIN, self.stack.size, self.stack.root()), log, key("log"))
        line = witness.cosign(note.text, at, key("witness"))
        (self.path / CHECKPOINT_PATH).write_bytes(Note(note.text, (*note.signatures, line)).encode())


def ledger_of(entries: int, folder: Path, processes: int) -> Path:
    """The folder of a ledger of about this many entries; made once."""
    path = folder / f"priced-{entries}"
    if (path / CHECKPOINT_PATH).exists():
        return path
    log, first = _Folder(path), founding()
    programme = st.parse(first[-2]).hex_id
    log.write(first)
    last = max(1, (entries - len(first)) // PER_QUESTION)
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for at in range(0, last, QUESTIONS_A_BLOCK):
            seen = st.Seen(size=log.stack.size, root=log.stack.root().hex())
            for made in pool.map(block_entries, _parts(at, min(at + QUESTIONS_A_BLOCK, last), processes, programme, seen)):
                log.write(made)
    log.publish(START + 10 + 30 * last)
    return path


def _parts(first: int, last: int, processes: int, programme: str, seen: st.Seen) -> Iterator[Block]:
    step = -(-(last - first) // processes)
    return (Block(at, min(at + step, last), programme, seen) for at in range(first, last, step))
