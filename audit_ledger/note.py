"""Signed notes: text that several keys sign, and the one-line form of a key. C2SP signed-note 1.0.0.

Rules
- Strict UTF-8, no byte below 0x20 but LF. The text ends in LF; the LAST empty line separates it from at least one
  line `— <name> <base64 of key ID ‖ signature>`. The signature covers the text with its last LF.
- A key name is non-empty and holds no Unicode space and no `+`.
- Key ID = first four bytes of SHA-256(name ‖ LF ‖ type ‖ key). It only locates a key: the configured key decides.
- Unknown (name, ID): the line is ignored. Known and not verifying: the whole note is rejected.
- At most 100 signature lines and 1 MiB (the spec: at least 16 lines).
"""

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit_ledger.errors import BadSignature, MalformedNote
from audit_ledger.strict import base64_line, unbase64

MAX_NOTE = 1 << 20
MAX_SIGNATURES = 100
KEY_ID_SIZE = 4
ED25519_KEY_SIZE = 32
VERIFIED_KEPT = 32  # a checkpoint is followed, and stands in the proofs that come with it

_DASH = "— ".encode()
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_NO_NAME = re.compile(r"[+\s\x00-\x1f]")


class KeyType(IntEnum):
    """The assigned signature type bytes this house reads [signed-note: Signature types]."""

    ED25519 = 0x01
    COSIGNATURE_ED25519 = 0x04
    COSIGNATURE_ML_DSA_44 = 0x06


class Signer(Protocol):
    """Holds a private key and signs with it; an `Ed25519PrivateKey` is one, a signing process can be another."""

    def sign(self, data: bytes, /) -> bytes:
        """The raw signature over `data`."""


def demand_name(name: str) -> str:
    """`name` if it can name a key, else MalformedNote."""
    if not name or _NO_NAME.search(name):
        raise MalformedNote(f"key name is empty or holds a space, a plus or a control character: {name[:80]!r}")
    return name


@dataclass(frozen=True)
class VerifierKey:
    """A public key with the name and signature type it is good for, and nothing else."""

    name: str
    type: int
    material: bytes

    def __post_init__(self) -> None:
        demand_name(self.name)
        if not 0 <= self.type <= 0xFF or not self.material:
            raise MalformedNote(f"verifier key {self.name!r}: no type byte or no key")

    @cached_property
    def key_id(self) -> bytes:
        """Locates the key on a signature line."""
        return sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.material).digest()[:KEY_ID_SIZE]

    def encode(self) -> str:
        """The vkey text `name+<key ID>+<base64 of type and key>`."""
        return f"{self.name}+{self.key_id.hex()}+{base64_line(bytes([self.type]) + self.material).decode().strip()}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """The inverse of `encode`, one spelling only. Raises MalformedNote."""
        parts = text.split("+", 2)  # base64 may hold a plus itself
        try:
            name, _, packed = parts
            raw = unbase64(packed.encode())
        except ValueError as cause:
            raise MalformedNote(f"verifier key is not name+id+base64: {text[:80]!r}") from cause
        if not raw:
            raise MalformedNote(f"verifier key {name!r}: no type byte or no key")
        key = cls(name, raw[0], raw[1:])
        if key.encode() != text:
            raise MalformedNote(f"verifier key {name!r}: key ID is not that of the key, expected {key.key_id.hex()}")
        return key


@dataclass(frozen=True)
class LogKey:
    """A log's Ed25519 key (type 01): it signs note texts as they are. Its name is the log's origin."""

    vkey: VerifierKey

    def __post_init__(self) -> None:
        demand_ed25519(self.vkey, KeyType.ED25519, "log")

    @classmethod
    def parse(cls, text: str) -> "LogKey":
        """From a vkey text. Raises MalformedNote."""
        return cls(VerifierKey.parse(text))

    @classmethod
    def of(cls, origin: str, public_key: Ed25519PublicKey) -> "LogKey":
        """From the public half of a key."""
        return cls(VerifierKey(origin, KeyType.ED25519, public_key.public_bytes_raw()))

    @property
    def origin(self) -> str:
        """The log's name, first line of its checkpoints."""
        return self.vkey.name

    def verify(self, text: bytes, signature: bytes) -> None:
        """Raises BadSignature."""
        verify_ed25519(self.vkey, signature, text)

    def sign(self, text: bytes, signer: Signer) -> "SignatureLine":
        """A line over `text`. Raises BadSignature when `signer` holds another key than this one."""
        signature = signer.sign(text)
        self.verify(text, signature)
        return SignatureLine(self.vkey.name, self.vkey.key_id, signature)


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """One line under a note: who says to have signed, and the bytes after the key ID."""

    name: str
    key_id: bytes
    signature: bytes

    def encode(self) -> bytes:
        """The line with its newline."""
        return _DASH + self.name.encode() + b" " + base64_line(self.key_id + self.signature)

    @classmethod
    def parse(cls, line: bytes) -> "SignatureLine":
        """From a line without its newline. Raises MalformedNote."""
        name, space, packed = line.removeprefix(_DASH).partition(b" ")
        if not line.startswith(_DASH) or not space:
            raise MalformedNote(f"not a signature line: {line[:40]!r}")
        try:
            raw = unbase64(packed)
        except ValueError as cause:
            raise MalformedNote(f"signature line: {cause}") from cause
        if len(raw) <= KEY_ID_SIZE:
            raise MalformedNote(f"signature line holds {len(raw)} bytes, a key ID and a signature are more than 4")
        return cls(demand_name(name.decode()), raw[:KEY_ID_SIZE], raw[KEY_ID_SIZE:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the lines under it. Nothing is verified yet."""

    text: bytes
    signatures: tuple[SignatureLine, ...]

    def encode(self) -> bytes:
        """The bytes on the wire."""
        return self.text + b"\n" + b"".join(line.encode() for line in self.signatures)

    @classmethod
    def parse(cls, raw: bytes) -> "Note":
        """Raises MalformedNote."""
        _demand_clean(raw)
        text, separator, below = raw.rpartition(b"\n\n")
        if not separator or not below:
            raise MalformedNote("note has no signature under an empty line")
        if not raw.endswith(b"\n"):
            raise MalformedNote("note does not end in a newline")
        lines = below[:-1].split(b"\n")
        if len(lines) > MAX_SIGNATURES:
            raise MalformedNote(f"note has {len(lines)} signature lines, at most {MAX_SIGNATURES} are read")
        return cls(text + b"\n", tuple(SignatureLine.parse(line) for line in lines))

    def lines_of(self, key: VerifierKey) -> list[SignatureLine]:
        """The lines that carry this key's name and ID."""
        return [line for line in self.signatures if line.name == key.name and line.key_id == key.key_id]

    def signed_by(self, key: LogKey) -> bool:
        """Whether `key` signed. Raises BadSignature when a line claims so and lies."""
        lines = self.lines_of(key.vkey)
        for line in lines:
            key.verify(self.text, line.signature)
        return bool(lines)


def _demand_clean(raw: bytes) -> None:
    if len(raw) > MAX_NOTE:
        raise MalformedNote(f"note has {len(raw)} bytes, at most {MAX_NOTE} are read")
    if _CONTROL.search(raw):
        raise MalformedNote("note holds a control character")
    try:
        raw.decode()
    except UnicodeDecodeError as cause:
        raise MalformedNote("note is not UTF-8") from cause


def demand_ed25519(key: VerifierKey, expected: KeyType, role: str) -> None:
    """Raises MalformedNote unless `key` is an Ed25519 key of the type that `role` needs."""
    if key.type != expected or len(key.material) != ED25519_KEY_SIZE:
        raise MalformedNote(f"{role} key {key.name!r}: expected type {expected:#04x}, 32 bytes; got {key.type:#04x}")


def verify_ed25519(key: VerifierKey, signature: bytes, message: bytes) -> None:
    """Raises BadSignature, also for a key that is no point of the curve."""
    try:
        _verify(key.material, signature, message)
    except (InvalidSignature, ValueError) as cause:
        raise BadSignature(f"signature of {key.name!r} ({key.key_id.hex()}) does not verify") from cause


@lru_cache(VERIFIED_KEPT)
def _verify(public: bytes, signature: bytes, message: bytes) -> None:
    """Raises InvalidSignature or ValueError each time; what verifies is computed once."""
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
