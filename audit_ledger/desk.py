"""The auditor at the coordinator's desk: fetches what waits, signs what was decided, and follows the ledger for its own screen.

What comes over the wire is believed only as far as it is signed: entries are followed under the cosigned checkpoint, requests
are shown with the fingerprint that the hospital reads out.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc

from audit_ledger.before import begun
from audit_ledger.errors import LedgerError, Unavailable
from audit_ledger.party.channel import open_blocking_channel
from audit_ledger.party.home import Home
from audit_ledger.view import LedgerView
from protocols.canonical import b64, unb64
from protocols.clock import stamp
from protocols.dsse import Envelope
from protocols.errors import MalformedBytes
from protocols.identity import Identity, Role, fingerprint
from protocols.refusal import Reason
from protocols.statements import (
    Approval,
    ApprovalRule,
    Hold,
    KeyAdd,
    KeyRevoke,
    Reasoned,
    Refused,
    Review,
    Revocation,
    Signed,
    Statement,
    parse,
)
from protocols.v1 import link_pb2, link_pb2_grpc

TIMEOUT_S = 60


class DeskRefused(LedgerError):
    """The coordinator did not log the statement; the message lists the codes."""

    code = "desk.refused"


class BadRequest(LedgerError):
    """A key request that must not be countersigned; the message says why."""

    code = "desk.request"


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A hospital or bureau that asks to be admitted."""

    signed: Signed
    add: KeyAdd

    @classmethod
    def parse(cls, envelope: bytes) -> "KeyRequest":
        """Raises BadRequest unless it is a self-signed identity key with a legal identity."""
        try:
            signed = parse(envelope.strip())
        except MalformedBytes as error:
            raise BadRequest(f"key request: {error}") from None
        add = signed.statement
        if not isinstance(add, KeyAdd) or add.use != "identity" or add.licence is None:
            raise BadRequest("key request: expected the identity key of a hospital or bureau, with its licence")
        if Identity.parse(add.subject).role not in (Role.HOSPITAL, Role.BUREAU) or add.by != add.subject:
            raise BadRequest("key request: only hospitals and bureaux are admitted, each by its own request")
        if not signed.envelope.is_signed_by(unb64(add.key, 32)):
            raise BadRequest("key request: not signed by the key it names")
        return cls(signed, add)

    @property
    def fingerprint(self) -> str:
        return fingerprint(unb64(self.add.key, 32))

    def to_json(self) -> dict[str, Any]:
        licence = self.add.licence
        return {
            "subject": self.add.subject,
            "legal_name": licence.legal_name if licence else "",
            "licence": licence.number if licence else "",
            "outbreak": self.add.outbreak,
            "id": self.signed.hex_id,
            "fingerprint": self.fingerprint,
        }


@dataclass(slots=True)
class Desk:
    """One visit to the coordinator. `now` is the time that statements carry."""

    home: Home
    stub: Any
    now: int = field(default_factory=lambda: int(time.time()))

    def requests(self) -> list[KeyRequest]:
        """What waits at the coordinator; a request that the auditor rejected in the ledger waits no more."""
        found = [KeyRequest.parse(each) for each in self.stub.Requests(link_pb2.RequestsRequest(), timeout=TIMEOUT_S).envelopes]
        rejected = self.view().reviews if found else {}
        return [each for each in found if each.signed.hex_id not in rejected]

    def view(self) -> LedgerView:
        """The ledger, followed from its beginning under the newest cosigned checkpoint. Raises LedgerError."""
        follower, entries = begun(self.home), []
        for frame in self.stub.Entries(link_pb2.EntriesRequest(start=0), timeout=TIMEOUT_S):
            entries.extend(frame.entries)
            if frame.checkpoint:
                follower.follow(follower.size, entries[follower.size :], frame.checkpoint, self.now)
                return follower.view
        raise Unavailable("desk: the coordinator sent no cosigned checkpoint")

    def append(self, envelope: bytes) -> int:
        """The entry's index. Raises DeskRefused."""
        reply = self.stub.Append(link_pb2.Statement(envelope=envelope), timeout=TIMEOUT_S)
        if reply.refusals:
            reasons = "; ".join(_reason(each) for each in reply.refusals)
            raise DeskRefused(f"not logged: {reasons}")
        return int(reply.index)

    def admit(self, request: KeyRequest) -> int:
        return self.append(request.signed.envelope.signed([self.home.key("approval")]).encode())

    def approval(self, target: str, until: str) -> Envelope:
        """The auditor's yes with this approver's signature, not yet logged."""
        return self._signed(Approval(**self.head(), target=target, until=until))

    def countersign(self, envelope: bytes) -> Envelope:
        """The same approval with this approver's signature too. Raises BadRequest."""
        try:
            signed = parse(envelope.strip())
        except MalformedBytes as error:
            raise BadRequest(f"approval: {error}") from None
        if not isinstance(signed.statement, Approval):
            raise BadRequest(f"approval: expected an approval, got {signed.statement.kind}")
        return signed.envelope.signed([self.home.key("approval")])

    def state_rule(self, approvers: dict[str, int], outbreak_a_day: int, review_hours: int) -> int:
        """Needs the root key: restore it, state the rule, take it away again."""
        rule = ApprovalRule(**self.head(), approvers=approvers, outbreak_a_day=outbreak_a_day, review_hours=review_hours)
        return self.append(rule.envelope().signed([self.home.key("root")]).encode())

    def review(self, target: str, is_in_order: bool, note: str) -> int:
        """The auditor has looked at it. It closes an emergency's due review, and turns a programme or key request down."""
        verdict: Literal["in_order", "not_in_order"] = "in_order" if is_in_order else "not_in_order"
        return self._state(Review(**self.head(), target=target, verdict=verdict, note=note))

    def revoke(self, target: str, reason: str) -> int:
        """An approval by its target's id, or a party's active key by its URI."""
        if not target.startswith("kapok://"):
            return self._state(Revocation(**self.head(), target=target, reason=reason))
        active = self.view().authority.active(str(Identity.parse(target)))
        if active is None:
            raise BadRequest(f"{target}: has no active key in the ledger")
        return self._state(KeyRevoke(**self.head(), subject=target, key=b64(active.key), reason=reason))

    def reject(self, target: str, reason: str) -> int:
        """A query by a refusal; a programme or a key request by a review that finds it not in order."""
        if target not in self.view().questions:
            return self.review(target, False, reason)
        said = Reasoned(code=str(Reason.NOT_APPROVED), expected="the auditor's approval", got=reason, subject="")
        return self._state(Refused(**self.head(), query=target, reasons=(said,)))

    def hold(self, is_held: bool, reason: str) -> int:
        return self._state(Hold(**self.head(), is_held=is_held, reason=reason))

    def head(self) -> dict[str, Any]:
        """What every statement of this party has."""
        return {
            "log": self.home.trust().policy.logs[0].key.origin,
            "at": stamp(self.now),
            "by": str(self.home.config().get("uri", "")),
        }

    def _signed(self, statement: Statement) -> Envelope:
        return statement.envelope().signed([self.home.key("approval")])

    def _state(self, statement: Statement) -> int:
        return self.append(self._signed(statement).encode())


def _reason(refusal: link_pb2.Reason) -> str:
    return f"{refusal.code}: expected {refusal.expected}" + (f", got {refusal.got}" if refusal.got else "")


@contextmanager
def open_desk(home: Home) -> Iterator[Desk]:
    """The auditor's, or a hospital's. Raises Unavailable when the coordinator cannot be reached."""
    config = home.config()
    if not {"link_address", "coordinator"} <= set(config):
        raise Unavailable(f"{home.path / 'config.toml'}: no coordinator yet; run `enroll` first")
    with desk_at(home, str(config["link_address"]), str(config["coordinator"])) as desk:
        yield desk


@contextmanager
def desk_at(home: Home, address: str, coordinator: str) -> Iterator[Desk]:
    """Raises Unavailable when the coordinator cannot be reached."""
    try:
        with open_blocking_channel(home, address, coordinator) as channel:
            yield Desk(home, link_pb2_grpc.DeskStub(channel))
    except grpc.RpcError as error:
        code = getattr(error, "code", None)
        said = code().name.lower() if callable(code) else "unknown"
        raise Unavailable(f"coordinator at {address}: {said}") from None
