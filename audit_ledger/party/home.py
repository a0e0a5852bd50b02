"""One folder per party, one meaning per file. Secret files are created with mode 0600 and refused when others may read them.

keys/<name>.key     an Ed25519 seed (identity, root, approval, service, witness, log …): base64, or PKCS#8 under the passphrase
passphrase-file     the path of the file, outside the folder, that holds the passphrase; absent where keys are plain
tls/key.pem, tls/cert.pem, tls/ca.pem     transport only; identity in the ledger is another key
trust.policy        what this party believes (C2SP tlog-policy with the pinned entry 0)
config.toml         addresses and choices, no secrets
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from audit_ledger.party.passphrase import HomeError, PrivateKey, locked, passphrase_of, protect, require_private, unlocked
from audit_ledger.policy import TrustFile
from protocols.canonical import b64, unb64
from protocols.errors import MalformedBytes
from protocols.identity import SigningKey

__all__ = ["Home", "HomeError"]


@dataclass(frozen=True, slots=True)
class Home:
    """Paths and loaders of one party's folder."""

    path: Path

    def key(self, name: str) -> SigningKey:
        return SigningKey.from_seed(self.secret(f"keys/{name}.key", 32))

    def protect(self, passphrase_file: Path | None) -> Self:
        """Keys made from now on are encrypted under the passphrase in that file; None leaves it as it is."""
        if passphrase_file is not None:
            protect(self.path, passphrase_file)
        return self

    def create_key(self, name: str) -> SigningKey:
        """A fresh key, on disk before it is returned. An existing one is never overwritten."""
        key = SigningKey.generate()
        self.write_secret(f"keys/{name}.key", key.seed())
        return key

    def secret(self, name: str, length: int) -> bytes:
        path, raw = self.path / name, self._private(name)
        if raw.startswith(b"-----BEGIN"):
            key = unlocked(path, raw, passphrase_of(self.path))
            return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        try:
            return unb64(raw.decode("ascii").strip(), length)
        except (MalformedBytes, UnicodeDecodeError) as error:
            raise HomeError(f"{path}: not a key: {error}") from None

    def write_secret(self, name: str, raw: bytes) -> None:
        """32 bytes of a key: as PKCS#8 if the home has a passphrase."""
        passphrase = passphrase_of(self.path)
        key = _kind(name).from_private_bytes(raw)
        self._create(name, locked(key, passphrase) if passphrase else b64(raw).encode() + b"\n")

    def private_key(self, name: str) -> PrivateKey:
        """The key in any file of this home, plain or encrypted."""
        if name.endswith(".pem"):
            return unlocked(self.path / name, self._private(name), passphrase_of(self.path))
        return _kind(name).from_private_bytes(self.secret(name, 32))

    def transport_key(self, name: str = "tls/key.pem") -> bytes:
        """PKCS#8 in PEM, not encrypted: for the library that speaks TLS, and never for a file."""
        return locked(self.private_key(name), None)

    def write_transport_key(self, key: ec.EllipticCurvePrivateKey, name: str = "tls/key.pem") -> None:
        """Replaces an older one."""
        pem = locked(key, passphrase_of(self.path))
        (self.path / name).unlink(missing_ok=True)
        self._create(name, pem)

    def _private(self, name: str) -> bytes:
        path = self.path / name
        try:
            require_private(path)
            return path.read_bytes()
        except FileNotFoundError:
            raise HomeError(f"{path}: not there; run `init` first") from None

    def _create(self, name: str, raw: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise HomeError(f"{path}: exists already and is not overwritten") from None
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())

    def has(self, name: str) -> bool:
        return (self.path / name).exists()

    def trust(self) -> TrustFile:
        path = self.path / "trust.policy"
        try:
            return TrustFile.parse(path.read_bytes())
        except FileNotFoundError:
            raise HomeError(f"{path}: not there; take it from the auditor or the coordinator and compare its hash") from None

    def config(self) -> dict[str, Any]:
        path = self.path / "config.toml"
        try:
            return tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise HomeError(f"{path}: not there; run `init` first") from None
        except tomllib.TOMLDecodeError as error:
            raise HomeError(f"{path}: not TOML: {error}") from None

    def write(self, name: str, raw: bytes) -> Path:
        """A public file, replaced atomically."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(path.name + ".part")
        with partial.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        return path


def _kind(name: str) -> type[Ed25519PrivateKey | X25519PrivateKey]:
    return X25519PrivateKey if "sealing" in Path(name).parts else Ed25519PrivateKey
