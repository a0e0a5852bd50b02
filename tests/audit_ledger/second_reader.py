"""A second reader of a published log, written from the C2SP pages and RFC 6962 alone: other code, another Ed25519 library.

It imports nothing of the product. Where it and the product read one folder differently, one of them is wrong.
"""

import base64
import hashlib
import struct
from functools import cache
from pathlib import Path

from Crypto.Signature import eddsa


def mth(leaves: tuple[bytes, ...]) -> bytes:
    """RFC 6962 section 2.1, as its definition reads, over leaf hashes."""

    @cache
    def root(start: int, end: int) -> bytes:
        if end - start == 1:
            return leaves[start]
        k = 1
        while k * 2 < end - start:
            k *= 2
        return hashlib.sha256(b"\x01" + root(start, start + k) + root(start + k, end)).digest()

    return root(0, len(leaves)) if leaves else hashlib.sha256(b"").digest()


def open_note(note: bytes, vkey: str) -> str:
    """The text, if this Ed25519 key signed it (type 01), or cosigned it (type 04)."""
    name, key_hash, material = vkey.split("+", 2)
    raw = base64.b64decode(material)
    assert hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() == key_hash
    text, _, signatures = note.decode().rpartition("\n\n")
    text += "\n"
    for line in signatures.split("\n")[:-1]:
        dash, signer, blob64 = line.split(" ")
        blob = base64.b64decode(blob64)
        if dash == "\u2014" and signer == name and blob[:4].hex() == key_hash:
            message, signature = text.encode(), blob[4:]
            if raw[0] == 4:
                (at,) = struct.unpack(">Q", blob[4:12])
                message, signature = f"cosignature/v1\ntime {at}\n".encode() + message, blob[12:]
            eddsa.new(eddsa.import_public_key(raw[1:]), "rfc8032").verify(message, signature)
            return text
    raise AssertionError(f"no line of {name}")


def tile_path(level: str, index: int, width: int) -> str:
    name = f"{index % 1000:03d}"
    while index >= 1000:
        index //= 1000
        name = f"x{index % 1000:03d}/{name}"
    return f"tile/{level}/{name}" + (f".p/{width}" if width < 256 else "")


def read_log(folder: Path, vkey: str) -> tuple[int, bytes]:
    """Size and root of the published log, after every entry and every tile was read and compared."""
    origin, size_text, root64, rest = open_note((folder / "checkpoint").read_bytes(), vkey).split("\n", 3)
    assert (origin, rest) == (vkey.split("+")[0], "")
    size, root, hashes = int(size_text), base64.b64decode(root64), []
    for index in range(-(-size // 256)):
        raw, at = (folder / tile_path("entries", index, min(256, size - 256 * index))).read_bytes(), 0
        while at < len(raw):
            (length,) = struct.unpack_from(">H", raw, at)
            hashes.append(hashlib.sha256(b"\x00" + raw[at + 2 : at + 2 + length]).digest())
            at += 2 + length
        assert at == len(raw)
    assert len(hashes) == size
    assert mth(tuple(hashes)) == root
    level, row = 0, hashes
    while row:
        for index in range(-(-len(row) // 256)):
            part = row[256 * index : 256 * (index + 1)]
            assert (folder / tile_path(str(level), index, len(part))).read_bytes() == b"".join(part)
        row = [mth(tuple(row[at : at + 256])) for at in range(0, len(row) - 255, 256)]
        level += 1
    return size, root


def check_proof(raw: bytes, entry: bytes, log_vkey: str, witness_vkey: str) -> None:
    """A tlog-proof file: header, index, path, cosigned checkpoint; the path by RFC 6962's own recursion."""
    head, note = raw.split(b"\n\n", 1)
    first, index_line, *path64 = head.decode().split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    text = open_note(note, log_vkey)
    assert open_note(note, witness_vkey) == text
    _, size, root64, _ = text.split("\n")
    path = [base64.b64decode(line) for line in path64]

    def climb(leaf: bytes, index: int, count: int, path: list[bytes]) -> bytes:
        if count == 1:
            assert not path
            return leaf
        k = 1
        while k * 2 < count:
            k *= 2
        *below, sibling = path
        left = (climb(leaf, index, k, below), sibling) if index < k else (sibling, climb(leaf, index - k, count - k, below))
        return hashlib.sha256(b"\x01" + left[0] + left[1]).digest()

    leaf = hashlib.sha256(b"\x00" + entry).digest()
    assert climb(leaf, int(index_line.removeprefix("index ")), int(size), path) == base64.b64decode(root64)


def subtree_message(cosigner: str, at: int, origin: str, start: int, end: int, root: bytes) -> bytes:
    """What an ML-DSA-44 cosignature (type 06) signs: the seam that a later version fills."""

    def framed(text: str) -> bytes:
        return bytes([len(text.encode())]) + text.encode()

    return b"subtree/v1\n\x00" + framed(cosigner) + struct.pack(">Q", at) + framed(origin) + struct.pack(">QQ", start, end) + root
