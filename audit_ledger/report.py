"""What an auditor reads of a verified ledger: a period's report, and how to confirm one entry with openssl and sha256sum."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from audit_ledger.tree import FullTree, inclusion_proof, leaf_hash
from audit_ledger.view import LedgerView, QuestionFacts
from protocols.canonical import b64
from protocols.identity import fingerprint
from protocols.statements import Signed


def period_report(view: LedgerView, since: str = "", until: str = "9999") -> dict[str, Any]:
    """Queries stated in [since, until), as counts and lists that a machine reads; spent totals are those at the ledger's end."""
    asked = [(id_, facts) for id_, facts in view.questions.items() if since <= facts.query.at < until]
    return {
        "origin": view.authority.origin,
        "size": view.size,
        "since": since,
        "until": until,
        "queries_by_purpose": dict(sorted(Counter(facts.query.purpose for _, facts in asked).items())),
        "ended": dict(sorted(Counter(_ended(facts) for _, facts in asked).items())),
        "spent": _spent(view),
        "refusals": [_refusal(id_, uri, facts) for id_, facts in asked for uri in sorted(facts.refusals)],
        "incidents": [{"query": id_, "entry": index, "by": by} for id_, facts in asked for index, by in facts.incidents],
        "queries": [_query(id_, facts) for id_, facts in asked],
    }


def _ended(facts: QuestionFacts) -> str:
    return facts.release[1].status if facts.release else "open"


def _spent(view: LedgerView) -> dict[str, dict[str, dict[str, str]]]:
    """hospital -> purpose -> block -> running total of its Readys."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for uri, account in sorted(view.accounts.items()):
        for (purpose, block), total in sorted(account.totals.items()):
            found.setdefault(uri, {}).setdefault(purpose, {})[block] = f"{total:.9f}"
    return found


def _refusal(id_: str, uri: str, facts: QuestionFacts) -> dict[str, Any]:
    index, refused = facts.refusals[uri]
    return {"query": id_, "entry": index, "by": uri, "codes": [each.code for each in refused.reasons]}


def _query(id_: str, facts: QuestionFacts) -> dict[str, Any]:
    prices = {each.statement.charge.price for each in facts.readys.values()}
    return {
        "query": id_,
        "entry": facts.index,
        "by": facts.query.by,
        "purpose": facts.query.purpose,
        "at": facts.query.at,
        "readys": len(facts.readys),
        "openings": sorted({each[0] for each in facts.openings.values()}),
        "receipts": len(facts.receipts),
        "price": sorted(prices),
        "release": facts.release[0] if facts.release else None,
        "ended": _ended(facts),
    }


def explain(index: int, signed: Signed, tree: FullTree, keys: dict[str, bytes]) -> Iterator[str]:
    """A shell script that confirms entry `index` with openssl and sha256sum. `keys`: fingerprint -> public key of each signer."""
    yield f"# entry {index}: {signed.statement.kind}, stated by {signed.statement.by} at {signed.statement.at}"
    yield f"# 1. The entry's bytes, as they stand in tile/entries (its length is {len(signed.entry)}):"
    yield f"printf %s '{b64(signed.entry)}' | base64 -d > entry.json"
    yield f"# 2. Its leaf: SHA-256 of a zero byte and the entry. Expected {leaf_hash(signed.entry).hex()}"
    yield "(printf '\\000'; cat entry.json) | sha256sum"
    yield "# 3. Up the tree: SHA-256 of a one byte, the left and the right hash."
    yield from _climb(index, signed.entry, tree)
    yield f"# The last hash is the root of the checkpoint of size {tree.size}: {tree.root().hex()}"
    yield f"#    {b64(tree.root())} is its third line."
    yield "# 4. What was signed (DSSE pre-authentication encoding), whose SHA-256 is the statement's id. Expected " + signed.hex_id
    yield f"printf %s '{b64(signed.envelope.pae())}' | base64 -d > pae.bin; sha256sum pae.bin"
    for at, signature in enumerate(signed.envelope.signatures):
        yield f"# 5. Signature {at + 1}, by the key with fingerprint {signature.keyid}:"
        yield f"printf %s '{b64(signature.value)}' | base64 -d > signature.bin"
        if signature.keyid in keys:
            yield f"printf %s '{_spki(keys[signature.keyid])}' | base64 -d > key.der"
            yield "openssl pkeyutl -verify -pubin -keyform DER -inkey key.der -rawin -in pae.bin -sigfile signature.bin"
        else:
            yield "# the ledger names no key with this fingerprint"


def _climb(index: int, entry: bytes, tree: FullTree) -> Iterator[str]:
    """One command per level; which side the sibling stands on follows from index and size (RFC 9162 section 2.1.3.2)."""
    computed, node, last = leaf_hash(entry), index, tree.size - 1
    for sibling in inclusion_proof(index, tree.size, tree.read):
        is_right = bool(node & 1) or node == last
        left, right = (sibling, computed) if is_right else (computed, sibling)
        joined = b"\x01" + left + right
        computed = hashlib.sha256(joined).digest()
        yield f"printf %s '{b64(joined)}' | base64 -d | sha256sum   # {computed.hex()}"
        while is_right and not node & 1 and node:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1


def _spki(public: bytes) -> str:
    """An Ed25519 public key as openssl reads it (RFC 8410): a fixed 12-byte head and the key."""
    return b64(bytes.fromhex("302a300506032b6570032100") + public)


def keys_of(view: LedgerView) -> dict[str, bytes]:
    """Every key the ledger ever named, by fingerprint."""
    return {fingerprint(key): key for key in view.authority.keys}
