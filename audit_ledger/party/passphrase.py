"""Private keys at rest: PKCS#8 under a passphrase that lies in a file elsewhere, or plain where a party chose no passphrase.

The home names the passphrase's file in `passphrase-file`, once, at `init`; the file itself must lie outside the home (whoever
copies the home, or its backup, has then no key) and be for its owner alone. The library's PKCS#8 stretches a passphrase 2,048
times, which is nothing against a guessed word: so a passphrase has at least 20 characters, best random ones.
"""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from audit_ledger.errors import LedgerError

POINTER = "passphrase-file"
SHORTEST = 20
ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
PrivateKey = Ed25519PrivateKey | X25519PrivateKey | ec.EllipticCurvePrivateKey


class HomeError(LedgerError):
    """The home folder is not as it has to be; the message says which file and what to do."""

    code = "home"


def protect(home: Path, file: Path) -> None:
    """Keys that are made in `home` from now on are encrypted under the passphrase in `file`. Raises HomeError before any change."""
    file = file.expanduser().resolve()
    _read(home, file)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = home / f"{POINTER}.part"
    with partial.open("w", encoding="utf-8") as pointer:
        pointer.write(f"{file}\n")
        pointer.flush()
        os.fsync(pointer.fileno())
    partial.replace(home / POINTER)


def passphrase_of(home: Path) -> bytes | None:
    """None where the home names no passphrase."""
    try:
        named = (home / POINTER).read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    return _read(home, Path(named))


def _read(home: Path, file: Path) -> bytes:
    if file.resolve().is_relative_to(home.resolve()):
        raise HomeError(f"{file}: a passphrase lies outside the folder that it protects")
    try:
        require_private(file)
        passphrase = file.read_bytes().strip()
    except OSError as error:
        raise HomeError(f"{file}: the passphrase cannot be read ({error.strerror})") from None
    if len(passphrase) < SHORTEST:
        raise HomeError(f"{file}: expected a passphrase of at least {SHORTEST} characters, got {len(passphrase)}")
    return passphrase


def require_private(file: Path) -> None:
    """Raises HomeError if others than the owner may read it, FileNotFoundError if it is not there."""
    mode = file.stat().st_mode
    if mode & 0o077:
        raise HomeError(f"{file}: readable by others (mode {mode & 0o777:o}); run chmod 600 on it")


def locked(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """PKCS#8 in PEM, encrypted if there is a passphrase."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def unlocked(file: Path, pem: bytes, passphrase: bytes | None) -> PrivateKey:
    """Raises HomeError where the passphrase is wrong or missing, or the file is no key of ours."""
    if pem.startswith(ENCRYPTED) and passphrase is None:
        raise HomeError(f"{file}: encrypted, and the home names no passphrase in {POINTER!r}")
    try:
        key = load_pem_private_key(pem, passphrase if pem.startswith(ENCRYPTED) else None)
    except (ValueError, TypeError):
        raise HomeError(f"{file}: the passphrase does not open it, or it is damaged") from None
    if not isinstance(key, PrivateKey):
        raise HomeError(f"{file}: a key of another kind")
    return key
