"""Keys over time: how a key hands over to its successor, in an order that a crash at any point leaves able to go on.

1. The successor is made and on disk as `keys/<name>.next.key` before anything names it.
2. An auditor's old key is revoked first, by the root: were both in force, one approver would count as two between the entries.
3. The ledger takes the successor's `key` entry, signed by it (possession) and by the key in force (the auditor's own: by the root).
   An identity key is replaced by this entry itself.
4. The file takes the old key's place, and the old key is gone.
Run again after a crash, each step that is done already is left out. The party's program reads the new key at its next start.

A party whose key speaks no more (it left, or the key was revoked) has nobody to hand over from: `ask_anew` makes the successor ask
the auditor, as at its first admission. Where a crash came after the request, `hand_over_identity` goes on once it is admitted.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audit_ledger.authority import Authority
from audit_ledger.desk import BadRequest, Desk
from audit_ledger.party.enrol import Invitation, enrol, request_of
from audit_ledger.party.home import Home
from protocols.canonical import b64
from protocols.identity import SigningKey, fingerprint
from protocols.statements import KeyAdd, KeyRevoke, Statement

Send = Callable[[bytes], Any]


def successor(home: Home, name: str) -> SigningKey:
    """The key that will follow `keys/<name>.key`: made now, or left by a run before."""
    made = f"{name}.next"
    return home.key(made) if home.has(f"keys/{made}.key") else home.create_key(made)


def take_over(home: Home, name: str) -> None:
    """The successor becomes the key. The old one is no longer on this disk."""
    keys = home.path / "keys"
    (keys / f"{name}.next.key").replace(keys / f"{name}.key")
    folder = os.open(keys, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def renew_identity(desk: Desk, uri: str, invite: Path | None = None) -> str:
    """`hand_over_identity`, or with an invitation's file `ask_anew`; the new fingerprint."""
    head, authority = desk.head(), desk.view().authority
    if invite is not None:
        return ask_anew(desk.home, uri, head, authority, Invitation.read(invite))
    return hand_over_identity(desk.home, uri, head, authority, desk.append)


def hand_over_identity(home: Home, uri: str, head: dict[str, Any], authority: Authority, send: Send) -> str:
    """A hospital's, bureau's or the coordinator's identity key; the new fingerprint. Raises BadRequest, and what `send` raises."""
    old, new, active = home.key("identity"), successor(home, "identity"), authority.active(uri)
    if active is None or active.key not in (old.public, new.public):
        raise BadRequest(f"{uri}: the key in {home.path} is not the one in force; ask the auditor for a new admission")
    if active.key == old.public:
        named: dict[str, Any] = {"action": "add", "subject": uri, "use": "identity", "key": b64(new.public)}
        send(_signed(KeyAdd(**head, **named, licence=active.licence, outbreak=active.may_break_glass), new, old))
    take_over(home, "identity")
    return fingerprint(new.public)


def ask_anew(home: Home, uri: str, head: dict[str, Any], authority: Authority, invitation: Invitation) -> str:
    """A new key, a new certificate, and the request to the auditor with the licence and rights of the last admission.

    The new fingerprint, which counts once the auditor has admitted it. Raises BadRequest, and what `enrol` raises.
    """
    last = max(authority.identities(uri), key=lambda each: each.since, default=None)
    if last is None or last.licence is None or invitation.uri != uri:
        raise BadRequest(f"{uri}: expected an invitation for this party, which was admitted before; got one for {invitation.uri}")
    if last.until is None:
        raise BadRequest(f"{uri}: its key is in force; rotate without an invitation, or have the auditor end it first")
    new = successor(home, "identity")
    enrol(home, invitation, request_of(new, head["log"], uri, head["at"], last.licence, last.may_break_glass))
    take_over(home, "identity")
    return fingerprint(new.public)


def hand_over_auditors(desk: Desk, use: str) -> str:
    """The auditor's `approval` or `service` key; needs the root key at hand. The new fingerprint."""
    home, head = desk.home, desk.head()
    root, old, new = home.key("root"), home.key(use), successor(home, use)
    authority = desk.view().authority
    before = authority.keys.get(old.public)
    if before is not None and before.until is None:
        revoke = KeyRevoke(**head, subject=head["by"], key=b64(old.public), reason="replaced by its successor")
        desk.append(_signed(revoke, root))
    if new.public not in authority.keys:
        named = {"action": "add", "subject": head["by"], "use": use, "key": b64(new.public), "licence": None, "outbreak": False}
        desk.append(_signed(KeyAdd.model_validate({**head, **named}), new, root))
    take_over(home, use)
    return fingerprint(new.public)


def _signed(statement: Statement, *signers: SigningKey) -> bytes:
    return statement.envelope().signed(signers).encode()
