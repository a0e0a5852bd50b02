"""How anybody confirms an entry or an answer with openssl, sha256sum and coreutils alone: a script that stops at the first lie.

For each entry: its bytes, its leaf, the way up to the root of the checkpoint, the id of what was signed, every signature. For the
checkpoint: the log's signature and the witnesses' cosignatures under the keys of the trust file. For an answer also the hash of
the released integers. The script takes keys from the trust file and from `key` entries that it confirms first; nothing else. It
unpacks into a folder of its own, which it names, and leaves nothing in the reader's.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.note import Note
from audit_ledger.policy import TrustFile
from audit_ledger.proof import TlogProof
from audit_ledger.tree import leaf_hash
from protocols.answer import Answer
from protocols.canonical import b64, unb64
from protocols.identity import fingerprint
from protocols.statements import KeyAdd, Root, Signed, parse

_TOOLS = r"""set -eu
cd "$(mktemp -d)"; echo "what these steps unpack is in $PWD" >&2
same() { if [ "$1" = "$2" ]; then echo "ok: $3"; else echo "DIFFERS: $3: $1, expected $2"; exit 1; fi; }
unpack() { printf %s "$1" | base64 -d; }
up() { { printf '\001'; cat "$1" "$2"; } | openssl dgst -sha256 -binary > up.bin; mv up.bin hash.bin; }
signed() { # key (base64), message, signature, whose
  unpack "MCowBQYDK2VwAyEA$1" > key.der
  if openssl pkeyutl -verify -pubin -keyform DER -inkey key.der -rawin -in "$2" -sigfile "$3" > /dev/null
  then echo "ok: signed by $4"; else echo "BAD SIGNATURE: $4"; exit 1; fi
}"""
# 12 bytes of SubjectPublicKeyInfo (RFC 8410) are 16 base64 letters, so that a key's own base64 can follow them.


@dataclass(frozen=True, slots=True)
class Keys:
    """Public keys by fingerprint, each with the place that names it."""

    named: Mapping[str, tuple[bytes, str]]

    @classmethod
    def of(cls, entries: Sequence[tuple[int, Signed]]) -> "Keys":
        """From `root` and `key` entries with their indexes."""
        return cls({fingerprint(key): (key, f"entry {at}") for at, signed in entries for key in _keys_in(signed)})


def _keys_in(signed: Signed) -> list[bytes]:
    match signed.statement:
        case Root() as root:
            return [unb64(root.auditor_root, 32), unb64(root.coordinator_key, 32)]
        case KeyAdd() as add:
            return [unb64(add.key, 32)]
        case _:
            return []


def explain_entry(index: int, entry: bytes, path: Sequence[bytes], note: bytes, trust: TrustFile, keys: Keys) -> Iterator[str]:
    """The script for one entry under one checkpoint."""
    yield from _TOOLS.split("\n")
    yield from _checkpoint(note, trust)
    yield from _entry(index, entry, path, Checkpoint.parse(Note.parse(note).text).size, trust, keys)


def explain_answer(answer: Answer, trust: TrustFile) -> Iterator[str]:
    """The script for an answer: every entry of the bundle, keys first, and the released integers."""
    yield from _TOOLS.split("\n")
    proven = [*answer.keys, *answer.approvals, answer.query, *answer.readys, answer.opening, *answer.receipts]
    proven += [*([answer.card] if answer.card else []), answer.release]
    read = [(TlogProof.parse(each.proof.encode()), each.entry.encode()) for each in proven]
    keys = Keys.of([(proof.index, parse(entry)) for proof, entry in read])
    last = b""
    for proof, entry in read:
        if proof.checkpoint != last:
            yield from _checkpoint(proof.checkpoint, trust)
            last = proof.checkpoint
        size = Checkpoint.parse(Note.parse(proof.checkpoint).text).size
        yield from _entry(proof.index, entry, proof.path, size, trust, keys)
    yield from _values(answer)


def _checkpoint(note: bytes, trust: TrustFile) -> Iterator[str]:
    parsed = Note.parse(note)
    size = Checkpoint.parse(parsed.text).size
    yield ""
    yield f"# The checkpoint of size {size}, as it is published: origin, size, root, and who signed these three lines."
    yield f"unpack {b64(note)} > checkpoint"
    yield "head -n 3 checkpoint > text"
    lines = {line.encode(): at for at, line in enumerate(parsed.signatures, start=5)}
    for log in trust.policy.logs:
        for line in parsed.lines_of(log.key.vkey):
            yield from _line(lines[line.encode()])
            yield "tail -c 64 line.bin > sig.bin"
            yield f"signed {b64(log.key.vkey.material)} text sig.bin 'the log, by the key of the trust file'"
    for witness in trust.policy.witnesses:
        for line in parsed.lines_of(witness.key.vkey):
            yield from _line(lines[line.encode()])
            yield "tail -c 64 line.bin > sig.bin"
            yield "time=$(tail -c +5 line.bin | head -c 8 | od -An -tu8 --endian=big | tr -d ' ')"
            yield "{ printf 'cosignature/v1\\ntime %s\\n' \"$time\"; cat text; } > message"
            yield f"signed {b64(witness.key.vkey.material)} message sig.bin {shlex.quote(f'the witness {witness.name}')}"


def _line(number: int) -> Iterator[str]:
    yield f"head -n {number} checkpoint | tail -n 1 | cut -d' ' -f3 | base64 -d > line.bin"


def _entry(index: int, entry: bytes, path: Sequence[bytes], size: int, trust: TrustFile, keys: Keys) -> Iterator[str]:
    signed = parse(entry)
    yield ""
    yield f"# Entry {index}: {signed.statement.kind}, stated by {signed.statement.by} at {signed.statement.at}."
    yield f"printf %s {shlex.quote(entry.decode())} > entry.json"
    yield "# Its leaf: SHA-256 of a zero byte and the entry. Up the tree: SHA-256 of a one byte, the left and the right hash."
    pinned = trust.entry0.hex() if index == 0 else leaf_hash(entry).hex()
    what = "the leaf that the trust file pins" if index == 0 else f"leaf of entry {index}"
    yield f"same \"$({{ printf '\\000'; cat entry.json; }} | sha256sum | cut -c1-64)\" {pinned} {shlex.quote(what)}"
    yield "{ printf '\\000'; cat entry.json; } | openssl dgst -sha256 -binary > hash.bin"
    for is_right, sibling in _sides(index, size, path):
        yield f"unpack {b64(sibling)} > side.bin; " + ("up side.bin hash.bin" if is_right else "up hash.bin side.bin")
    yield f'same "$(base64 < hash.bin)" "$(head -n 3 text | tail -n 1)" \'entry {index} stands under the root of the checkpoint\''
    yield "# What was signed: the DSSE form of type and payload; its SHA-256 is the statement's id."
    yield "cut -d'\"' -f4 entry.json | base64 -d > payload.bin; type=$(cut -d'\"' -f8 entry.json)"
    yield "{ printf 'DSSEv1 %d %s %d ' ${#type} \"$type\" $(wc -c < payload.bin); cat payload.bin; } > pae.bin"
    yield f"same \"$(sha256sum < pae.bin | cut -c1-64)\" {signed.hex_id} 'id of the statement'"
    for at, signature in enumerate(signed.envelope.signatures):
        yield from _signature(at, signature.keyid, keys)


def _signature(at: int, keyid: str, keys: Keys) -> Iterator[str]:
    if keyid not in keys.named:
        yield f"# signature {at + 1}: no key here has the fingerprint {keyid}"
        return
    key, place = keys.named[keyid]
    yield f"cut -d'\"' -f{18 + 8 * at} entry.json | base64 -d > sig.bin"
    yield f"signed {b64(key)} pae.bin sig.bin {shlex.quote(f'the key of {place}, {keyid}')}"


def _sides(index: int, size: int, path: Sequence[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Whether our hash is the right one, level by level (RFC 9162 section 2.1.3.2)."""
    node, last = index, size - 1
    for sibling in path:
        is_right = bool(node & 1) or node == last
        yield is_right, sibling
        while is_right and not node & 1 and node:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1


def _values(answer: Answer) -> Iterator[str]:
    numbers = " ".join(str(each) for each in answer.values)
    yield ""
    yield "# The released integers, 8 bytes each, big-endian, two's complement; their SHA-256 stands in the last entry."
    yield f"values=$(printf '%016X' {numbers} | basenc --base16 -d | sha256sum | cut -c1-64)"
    yield "case $(cat payload.bin) in"
    yield "*'\"values\":\"'\"$values\"'\"'*) echo 'ok: the released integers' ;;"
    yield "*) echo 'DIFFERS: the released integers'; exit 1 ;;"
    yield "esac"
