"""Encrypts the keys of a home that was made without a passphrase, or the rest of them where a crash left some plain.

First the home names the passphrase's file, durably; then each plain key is encrypted beside itself, read back, and takes the plain
one's place. A home reads plain and encrypted keys alike, so a crash at any point leaves every key readable, and the same command
goes on with those that are plain still. What was plain may be left in the medium's free blocks and in older backups: new keys
(`rotate`) are the remedy where that matters.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit_ledger.before import homes
from audit_ledger.party.home import Home, HomeError
from audit_ledger.party.passphrase import ENCRYPTED, POINTER, PrivateKey, locked, passphrase_of, protect, unlocked

_PLACES = ("keys/*.key", "sealing/*.key", "tls/key.pem", "ca/key.pem", "next/keys/*.key")


def encrypt_keys(home: Home, file: Path) -> list[Path]:
    """The keys that this call encrypted, those of earlier periods too. Raises HomeError before any change, where it can."""
    if not home.path.is_dir():
        raise HomeError(f"{home.path}: not there; run `init` first")
    places = list(homes(home))
    for each in places:
        _require_free(each, file)
    return [path for each in places for path in _encrypted(each, file)]


def _require_free(home: Home, file: Path) -> None:
    named = (home.path / POINTER).read_text("utf-8").strip() if home.has(POINTER) else ""
    if named and Path(named) != file.expanduser().resolve():
        raise HomeError(f"{home.path / POINTER}: names {named} already; its keys are encrypted under that passphrase")


def _encrypted(home: Home, file: Path) -> Iterator[Path]:
    protect(home.path, file)
    passphrase = passphrase_of(home.path)
    assert passphrase is not None
    for path in sorted(each for pattern in _PLACES for each in home.path.glob(pattern)):
        if not path.read_bytes().startswith(ENCRYPTED):
            _encrypt(home, path, passphrase)
            yield path


def _encrypt(home: Home, path: Path, passphrase: bytes) -> None:
    key, staged = home.private_key(str(path.relative_to(home.path))), path.with_name(path.name + ".part")
    staged.unlink(missing_ok=True)  # left by a crash
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as written:
        written.write(locked(key, passphrase))
        written.flush()
        os.fsync(written.fileno())
    if _public(unlocked(staged, staged.read_bytes(), passphrase)) != _public(key):
        raise HomeError(f"{staged}: does not read back as {path.name}; nothing was replaced")
    staged.replace(path)
    _sync(path.parent)


def _public(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
