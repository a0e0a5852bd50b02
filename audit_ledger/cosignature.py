"""Cosignatures: a witness's statement of the largest consistent tree it saw, and when. C2SP tlog-cosignature 1.0.1.

Rules for type 04 (Ed25519)
- The bytes after the key ID are a big-endian u64 POSIX second and a 64-byte signature.
- Signed message = `cosignature/v1` LF `time <decimal>` LF and the whole note text.
- The message does not bind the witness's name: one key, one role. `Policy` refuses a key used twice.

Seam: type 06 (ML-DSA-44) signs another message (`subtree/v1`) under the same line form. It would be a second class
with the four members of `WitnessKey`, chosen by the vkey's type in `parse_witness_key`; until then such a key is refused.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit_ledger.errors import BadSignature, MalformedNote
from audit_ledger.note import KeyType, Note, SignatureLine, Signer, VerifierKey, demand_ed25519, verify_ed25519
from audit_ledger.strict import MAX_NUMBER

_TIME_SIZE = 8


@dataclass(frozen=True)
class WitnessKey:
    """A witness's Ed25519 cosignature key (type 04)."""

    vkey: VerifierKey

    def __post_init__(self) -> None:
        demand_ed25519(self.vkey, KeyType.COSIGNATURE_ED25519, "witness")

    @classmethod
    def of(cls, name: str, public_key: Ed25519PublicKey) -> "WitnessKey":
        """From the public half of a key."""
        return cls(VerifierKey(name, KeyType.COSIGNATURE_ED25519, public_key.public_bytes_raw()))

    @property
    def name(self) -> str:
        """The witness's name on signature lines."""
        return self.vkey.name

    def cosign(self, text: bytes, time: int, signer: Signer) -> SignatureLine:
        """The line over a checkpoint text. Raises BadSignature when `signer` holds another key than this one."""
        if not 0 <= time <= MAX_NUMBER:
            raise ValueError(f"no POSIX time: {time}")
        signature = signer.sign(_message(text, time))
        verify_ed25519(self.vkey, signature, _message(text, time))
        return SignatureLine(self.vkey.name, self.vkey.key_id, time.to_bytes(_TIME_SIZE, "big") + signature)

    def cosigned_at(self, note: Note) -> int | None:
        """The newest time at which this witness cosigned, None if it did not.

        Raises BadSignature when a line claims this key and does not verify.
        """
        times = [self._verify(note.text, line.signature) for line in note.lines_of(self.vkey)]
        return max(times, default=None)

    def _verify(self, text: bytes, blob: bytes) -> int:
        time = int.from_bytes(blob[:_TIME_SIZE], "big")
        if len(blob) != _TIME_SIZE + 64 or time > MAX_NUMBER:
            raise BadSignature(f"cosignature of {self.name!r} is not a time and 64 bytes")
        verify_ed25519(self.vkey, blob[_TIME_SIZE:], _message(text, time))
        return time


def parse_witness_key(text: str) -> WitnessKey:
    """A witness's key from its vkey text. Raises MalformedNote."""
    key = VerifierKey.parse(text)
    if key.type == KeyType.COSIGNATURE_ML_DSA_44:
        raise MalformedNote(f"witness key {key.name!r}: ML-DSA-44 cosignatures are not read by this version")
    return WitnessKey(key)


def _message(text: bytes, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n".encode() + text
