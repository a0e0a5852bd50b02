"""One folder per party, one meaning per file. Secret files are created with mode 0600 and refused when others may read them.

keys/<name>.key     an Ed25519 seed, base64 (identity, root, approval, service, witness, log …)
tls/key.pem, tls/cert.pem, tls/ca.pem     transport only; identity in the ledger is another key
trust.policy        what this party believes (C2SP tlog-policy with the pinned entry 0)
config.toml         addresses and choices, no secrets
"""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit_ledger.errors import LedgerError
from audit_ledger.policy import TrustFile
from protocols.canonical import b64, unb64
from protocols.errors import MalformedBytes
from protocols.identity import SigningKey


class HomeError(LedgerError):
    """The home folder is not as it has to be; the message says which file and what to do."""

    code = "home"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths and loaders of one party's folder."""

    path: Path

    def key(self, name: str) -> SigningKey:
        return SigningKey.from_seed(self.secret(f"keys/{name}.key", 32))

    def create_key(self, name: str) -> SigningKey:
        """A fresh key, on disk before it is returned. An existing one is never overwritten."""
        key = SigningKey.generate()
        self.write_secret(f"keys/{name}.key", key.seed())
        return key

    def secret(self, name: str, length: int) -> bytes:
        path = self.path / name
        try:
            mode = path.stat().st_mode
            text = path.read_text("ascii").strip()
        except FileNotFoundError:
            raise HomeError(f"{path}: not there; run `init` first") from None
        if mode & 0o077:
            raise HomeError(f"{path}: readable by others (mode {mode & 0o777:o}); run chmod 600 on it")
        try:
            return unb64(text, length)
        except MalformedBytes as error:
            raise HomeError(f"{path}: {error}") from None

    def write_secret(self, name: str, raw: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise HomeError(f"{path}: exists already and is not overwritten") from None
        with os.fdopen(handle, "wb") as file:
            file.write(b64(raw).encode() + b"\n")
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
            raise HomeError(f"{path}: {error}") from None

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
