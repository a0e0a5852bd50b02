"""How a log begins: the coordinator drafts entry 0, the auditor countersigns it, and its hash is what everybody pins.

The founding file is a JSON list of envelopes as text: entry 0 with both signatures, then the auditor's approval and service keys
signed by the root. They become the log's first entries, in this order.
"""

import json
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit_ledger.before import begun
from audit_ledger.cosignature import parse_witness_key
from audit_ledger.findings import Finding
from audit_ledger.log.store import LogStore
from audit_ledger.note import LogKey
from audit_ledger.party.home import Home
from audit_ledger.policy import Log, Policy, TrustFile, Witness
from audit_ledger.succession import hand_over_identity
from audit_ledger.tree import leaf_hash
from audit_ledger.view import LedgerView
from coordinator.config import Config
from coordinator.errors import CoordinatorError
from coordinator.transport_ca import CertificateAuthority
from protocols.canonical import b64
from protocols.clock import stamp
from protocols.statements import Root, parse


class BadFounding(CoordinatorError):
    """The founding file does not found this log; the message says what is wrong."""

    code = "coordinator.founding"


def draft_root(home: Home, uri: str, origin: str, card: Path, addresses: tuple[str, str, str, str, str]) -> Config:
    """Keys, CA, config and founding/draft.json."""
    auditor = _card(card)
    identity, log_key = home.create_key("identity"), home.create_key("log")
    vkey = LogKey.of(origin, Ed25519PublicKey.from_public_bytes(log_key.public)).vkey.encode()
    config = Config(uri, origin, vkey, *addresses)
    authority = CertificateAuthority.create(origin)
    authority.save(home)
    key, certificate = authority.issue_own(uri)
    home.write_transport_key(key)
    home.write("tls/cert.pem", certificate)
    home.write("tls/ca.pem", authority.pem())
    home.write("config.toml", config.encode())
    home.write("founding/auditor.json", card.read_bytes())
    root = Root(
        log=origin,
        at=stamp(int(time.time())),
        by=uri,
        auditor=auditor["uri"],
        auditor_root=auditor["root"],
        coordinator=uri,
        coordinator_key=b64(identity.public),
        previous=None,
    )
    home.write("founding/draft.json", root.envelope().signed([identity]).encode())
    return config


def founding_entries(path: Path) -> list[bytes]:
    """A founding file's envelopes, unverified. Raises BadFounding."""
    try:
        return [text.encode() for text in json.loads(path.read_bytes())]
    except (ValueError, AttributeError, TypeError):
        raise BadFounding(f"{path}: expected a JSON list of envelopes") from None


def accept_founding(home: Home, path: Path) -> None:
    """Checks the countersigned entries by the ledger's own rules and writes them down with the trust file. Raises BadFounding."""
    entries = founding_entries(path)
    view = LedgerView(leaf_hash(entries[0]) if entries else bytes(32))
    found: list[Finding] = [each for entry in entries for each in view.apply(entry)]
    root, config = view.authority.root, Config.read(home)
    if found or root is None:
        raise BadFounding(
            f"{path}: {'; '.join(f'entry {each.index}: {each.rule} {each.detail}' for each in found) or 'no entry 0'}"
        )
    if root.log != config.origin or root.coordinator_key != b64(home.key("identity").public):
        raise BadFounding(f"{path}: founds another log, or names another coordinator key")
    card = _card(home.path / "founding" / "auditor.json")
    witness = parse_witness_key(card["witness_vkey"])
    logs = (Log(LogKey.parse(config.log_vkey)),)
    policy = Policy(logs, (Witness("auditor", witness),), (), "auditor")
    for index, entry in enumerate(entries):
        home.write(f"founding/entry-{index:02d}.json", entry)
    home.write("trust.policy", TrustFile(policy, leaf_hash(entries[0])).encode())


def hand_over(home: Home, config: Config, store: LogStore) -> str:
    """The coordinator's identity key is followed by a new one, signed by the old; closes `store`. The new fingerprint."""
    with store:
        view = begun(home).view
        for entry in store.entries(0, store.size):
            view.apply(entry)

        def send(entry: bytes) -> None:
            signed = parse(entry)
            if found := view.findings_for(signed):
                raise CoordinatorError("; ".join(f"{each.rule} {each.detail}" for each in found))
            store.append([(signed.id, entry)]).result()

        head = {"log": config.origin, "at": stamp(int(time.time())), "by": config.uri}
        return hand_over_identity(home, config.uri, head, view.authority, send)


def _card(path: Path) -> dict[str, str]:
    try:
        card = json.loads(path.read_bytes())
        return {name: str(card[name]) for name in ("uri", "root", "witness_vkey")}
    except (ValueError, KeyError, TypeError):  # a file that is not there says so itself
        raise BadFounding(f"{path}: not an auditor's card (uri, root, witness_vkey)") from None
