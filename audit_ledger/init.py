"""How an auditor begins: keys, shares of the root key, the card for the coordinator, and the countersigned start of the log.

The root key signs entry 0, the service and approval keys, and then nothing for a year; it is the one key whose loss ends the
city's ledger. Shamir shares (two 16-byte halves, pycryptodome) let `threshold` keepers restore it; fewer learn nothing.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from Crypto.Protocol.SecretSharing import Shamir

from audit_ledger.errors import LedgerError
from audit_ledger.follower import Follower
from audit_ledger.note import KeyType, VerifierKey
from audit_ledger.party.home import Home
from audit_ledger.policy import TrustFile
from protocols.canonical import b64, unb64
from protocols.dsse import Envelope
from protocols.errors import MalformedBytes
from protocols.identity import Identity, Role, Signer, SigningKey, fingerprint
from protocols.statements import KeyAdd, Root, parse

_HALF = 16
_USES = ("approval", "service")


class BadShares(LedgerError):
    """Shares that do not belong together, or too few of them."""

    code = "init.shares"


class BadDraft(LedgerError):
    """The draft of entry 0 is not for this auditor; the message says what differs."""

    code = "init.draft"


@dataclass(frozen=True, slots=True)
class Share:
    """One keeper's part. `check` is the fingerprint of the root key, so that a restored key can be told from a wrong one."""

    number: int
    threshold: int
    halves: tuple[bytes, bytes]
    check: str

    def encode(self) -> str:
        body = f"{self.number} {self.threshold} {b64(b''.join(self.halves))} {self.check}"
        return f"kapok-root-share-1 {body} {hashlib.sha256(body.encode()).hexdigest()[:8]}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises BadShares for any slip of the pen."""
        parts = text.split()
        if len(parts) != 6 or parts[0] != "kapok-root-share-1":
            raise BadShares("share: expected a line that begins with kapok-root-share-1")
        if hashlib.sha256(" ".join(parts[1:5]).encode()).hexdigest()[:8] != parts[5]:
            raise BadShares("share: its checksum does not fit, it was copied wrongly")
        try:
            raw = unb64(parts[3], 2 * _HALF)
            return cls(int(parts[1]), int(parts[2]), (raw[:_HALF], raw[_HALF:]), parts[4])
        except (ValueError, MalformedBytes) as error:
            raise BadShares(f"share: {error}") from None


def require_shares(threshold: int, shares: int) -> None:
    if not 2 <= threshold <= shares <= 255:
        raise BadShares(f"shares: expected 2 <= threshold <= shares <= 255, got {threshold} of {shares}")


def split(root: SigningKey, threshold: int, shares: int) -> list[Share]:
    require_shares(threshold, shares)
    seed, check = root.seed(), fingerprint(root.public)
    low, high = (Shamir.split(threshold, shares, half, False) for half in (seed[:_HALF], seed[_HALF:]))
    return [Share(number, threshold, (a, b), check) for (number, a), (_, b) in zip(low, high, strict=True)]


def combine(shares: list[Share]) -> SigningKey:
    """The root key. Raises BadShares when they are too few or do not give the key they were made of."""
    distinct = {each.number: each for each in shares}
    checks, thresholds = {each.check for each in shares}, {each.threshold for each in shares}
    if len(checks) != 1 or len(thresholds) != 1:
        raise BadShares("shares: they belong to different keys")
    if len(distinct) < min(thresholds):
        raise BadShares(f"shares: {min(thresholds)} different ones are needed, got {len(distinct)}")
    halves = [Shamir.combine([(each.number, each.halves[at]) for each in distinct.values()], False) for at in (0, 1)]
    root = SigningKey.from_seed(b"".join(halves))
    if fingerprint(root.public) not in checks:
        raise BadShares("shares: they do not give the root key they name")
    return root


def create_auditor(home: Home, name: str, shares: int, threshold: int) -> list[Path]:
    """Keys, card, config and share files; returns the share files, which leave this machine and are deleted here."""
    uri = str(Identity(Role.AUDITOR, Identity.parse(f"kapok://auditor/{name}").name))
    require_shares(threshold, shares)  # before the first key: a home that is half made could not be made again
    root = home.create_key("root")
    made = {use: home.create_key(use) for use in ("approval", "service", "witness")}
    witness = witness_key(name, made["witness"])
    card = {
        "uri": uri,
        "name": name,
        "root": b64(root.public),
        "approval": b64(made["approval"].public),
        "service": b64(made["service"].public),
        "witness_vkey": witness.encode(),
    }
    home.write("auditor.json", json.dumps(card, indent=2).encode() + b"\n")
    home.write("config.toml", f'uri = "{uri}"\nname = "{name}"\n'.encode())
    return [_write_share(home, each) for each in split(root, threshold, shares)]


def witness_key(name: str, key: Signer) -> VerifierKey:
    """The witness's public key under its name on signature lines."""
    return VerifierKey(f"{name}.witness.kapok", KeyType.COSIGNATURE_ED25519, key.public)


def _write_share(home: Home, share: Share) -> Path:
    path = home.write(f"share-{share.number}.txt", share.encode().encode())
    path.chmod(0o600)
    return path


@dataclass(frozen=True, slots=True)
class Founding:
    """The first entries of a log, and the fingerprints that two people compare before they hand it over."""

    entries: tuple[bytes, ...]
    auditor_fingerprint: str
    coordinator_fingerprint: str

    def encode(self) -> bytes:
        return json.dumps([each.decode() for each in self.entries], indent=1).encode() + b"\n"


def found(home: Home, draft: bytes) -> Founding:
    """Countersigns the coordinator's entry 0 and adds this auditor's keys. Raises BadDraft."""
    root, entry0, prints = _countersigned(home, draft)
    if root.previous is not None:
        raise BadDraft(f"draft: of a log that follows {root.previous.origin}; give that one with --after")
    keys = tuple(_key_add(root, use, home.key(use), home.key("root")) for use in _USES)
    return Founding((entry0, *keys), *prints)


def found_next(home: Home, draft: bytes, old: Follower, now: int) -> tuple[Founding, TrustFile]:
    """The same for the log that follows `old`, with the trust in it; keys that carry over are not added again.

    Raises BadDraft, and NotSuccessor with every rule that the draft breaks.
    """
    root, entry0, prints = _countersigned(home, draft)
    following = old.successor(entry0, now)
    carried = following.view.authority.keys
    keys = tuple(_key_add(root, use, home.key(use), home.key("root")) for use in _USES if home.key(use).public not in carried)
    return Founding((entry0, *keys), *prints), following.trust


def _countersigned(home: Home, draft: bytes) -> tuple[Root, bytes, tuple[str, str]]:
    """The draft's root, its envelope with the auditor's signature, and the fingerprints of both."""
    uri, root_key = str(home.config().get("uri", "")), home.key("root")
    try:
        signed = parse(draft.strip())
    except MalformedBytes as error:
        raise BadDraft(f"draft: {error}") from None
    root = signed.statement
    if not isinstance(root, Root):
        raise BadDraft(f"draft: expected a root statement, got {root.kind}")
    if (root.auditor, root.auditor_root) != (uri, b64(root_key.public)):
        raise BadDraft(f"draft: names {root.auditor} with another root key than ours, expected {uri}")
    coordinator = unb64(root.coordinator_key, 32)
    if root.by != root.coordinator or not signed.envelope.is_signed_by(coordinator):
        raise BadDraft("draft: not signed by the coordinator's key that it states")
    return root, signed.envelope.signed([root_key]).encode(), (fingerprint(root_key.public), fingerprint(coordinator))


def _key_add(root: Root, use: str, key: SigningKey, root_key: SigningKey) -> bytes:
    statement = KeyAdd.model_validate(
        {
            "log": root.log,
            "at": root.at,
            "by": root.auditor,
            "action": "add",
            "subject": root.auditor,
            "use": use,
            "key": b64(key.public),
            "licence": None,
            "outbreak": False,
        }
    )
    envelope: Envelope = statement.envelope().signed([key, root_key])
    return envelope.encode()
