"""Signed envelopes (DSSE v1.0.2): exact bytes are signed, the payload type is bound, several signers are possible.

An envelope's identity is SHA-256 of its PAE (`statement_id`): one statement has many envelope spellings in DSSE, so nothing is
ever deduplicated on envelope bytes. Ours is canonical JSON besides: `decode` refuses any other spelling of an envelope.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from protocols.canonical import b64, decode_json, encode_json, unb64
from protocols.errors import MalformedBytes
from protocols.identity import Signer, fingerprint, verifies

MAX_ENTRY_BYTES = 65_535
MAX_SIGNATURES = 8


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE pre-authentication encoding: what is signed."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Signature:
    """`keyid` is the fingerprint of the key: a locator that nothing trusts."""

    keyid: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """One signed fact, as bytes. Signatures stand in the order in which they were made."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...] = ()

    def pae(self) -> bytes:
        return pae(self.payload_type, self.payload)

    def statement_id(self) -> bytes:
        return hashlib.sha256(self.pae()).digest()

    def signed(self, signers: Sequence[Signer]) -> Self:
        message = self.pae()
        added = tuple(Signature(fingerprint(signer.public), signer.sign(message)) for signer in signers)
        return type(self)(self.payload_type, self.payload, self.signatures + added)

    def is_signed_by(self, public: bytes) -> bool:
        keyid, message = fingerprint(public), self.pae()
        return any(each.keyid == keyid and verifies(public, each.value, message) for each in self.signatures)

    def encode(self) -> bytes:
        signatures = [(each.keyid, b64(each.value)) for each in self.signatures]
        text = _written(b64(self.payload), self.payload_type, signatures)
        if all(map(_is_plain, (self.payload_type, *(keyid for keyid, _ in signatures)))):
            return text.encode("ascii")
        return encode_json(
            {
                "payload": b64(self.payload),
                "payloadType": self.payload_type,
                "signatures": [{"keyid": keyid, "sig": sig} for keyid, sig in signatures],
            }
        )

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        if len(raw) > MAX_ENTRY_BYTES:
            raise MalformedBytes(f"an entry has at most {MAX_ENTRY_BYTES} bytes, got {len(raw)}")
        found = _plainly(raw)
        return cls(*found) if found else cls._of_json(decode_json(raw))

    @classmethod
    def _of_json(cls, value: Any) -> Self:
        match value:
            case {"payload": str(payload), "payloadType": str(kind), "signatures": list(found), **rest} if not rest:
                if not 1 <= len(found) <= MAX_SIGNATURES:
                    raise MalformedBytes(f"an envelope has 1 to {MAX_SIGNATURES} signatures, got {len(found)}")
                return cls(kind, unb64(payload), tuple(_signature(each) for each in found))
        raise MalformedBytes("not an envelope: expected payload, payloadType and signatures")


def _plainly(raw: bytes) -> tuple[str, bytes, tuple[Signature, ...]] | None:
    """The parts of an envelope whose strings need no escape: their places are fixed, and no JSON reader is needed.

    None decides nothing: the JSON reader then says what the bytes are.
    """
    parts = raw.split(b'"')
    frame = _FRAMES.get(len(parts))
    if frame is None or not raw.isascii():
        return None
    texts = [part.decode() for part in (parts[7], *parts[13::8])]
    payload, signatures = parts[3].decode(), [part.decode() for part in parts[17::8]]
    parts[3] = parts[7] = b""
    parts[13::8] = parts[17::8] = [b""] * len(signatures)
    if parts != frame or not all(map(_is_plain, texts)):
        return None
    return texts[0], unb64(payload), tuple(map(Signature, texts[1:], [unb64(each, 64) for each in signatures]))


def _is_plain(text: str) -> bool:
    """Whether JSON writes this as it is."""
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def _written(payload: str, kind: str, signatures: Sequence[tuple[str, str]]) -> str:
    listed = ",".join([f'{{"keyid":"{keyid}","sig":"{sig}"}}' for keyid, sig in signatures])
    return f'{{"payload":"{payload}","payloadType":"{kind}","signatures":[{listed}]}}'


_FRAMES = {
    len(frame): frame
    for count in range(1, MAX_SIGNATURES + 1)
    if (frame := _written("", "", [("", "")] * count).encode().split(b'"'))
}
"""What stands around the strings, by the number of its parts: where the strings stand themselves it is empty."""


def _signature(value: Any) -> Signature:
    match value:
        case {"keyid": str(keyid), "sig": str(sig), **rest} if not rest:
            return Signature(keyid, unb64(sig, 64))
    raise MalformedBytes("not a signature: expected keyid and sig")
