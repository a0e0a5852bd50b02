"""Who may speak for whom, by replay of the ledger from entry 0.

- Entry 0 (`root`) states the auditor's root key and the coordinator's key and is signed by both; its leaf hash is pinned.
- The auditor's `approval` and `service` keys count when the root signed them.
- A hospital's or bureau's `identity` key counts when it signed its own entry (possession) and an approval key signed it too; a
  legal identity is admitted for one subject only, a key for one subject and use only.
- An identity key is replaced without the auditor when the key in force signs its successor, with the same licence and rights. The
  coordinator's is replaced so, or where it is lost by the auditor's root.
- A revoked key speaks no more from its revocation on; the auditor may revoke any key but the root, a party its own.
- The coordinator states no role but its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from audit_ledger.findings import Finding, Rule
from audit_ledger.tree import leaf_hash
from protocols.canonical import unb64
from protocols.identity import Identity, Role, fingerprint
from protocols.statements import KeyAdd, KeyRevoke, Licence, Root, Signed


@lru_cache(4096)
def role_of(uri: str) -> Role:
    return Identity.parse(uri).role


@dataclass(slots=True)
class AdmittedKey:
    """A key and the span of indexes in which it speaks (`until` exclusive, None while it does)."""

    subject: str
    use: str
    key: bytes
    since: int
    until: int | None = None
    licence: Licence | None = None
    may_break_glass: bool = False

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)


@dataclass(slots=True)
class Authority:
    """The keys of a city at the replayed size. `accept` is fed every `root`, `key` and `key-revoke` entry in order."""

    entry0: bytes
    root: Root | None = None
    keys: dict[bytes, AdmittedKey] = field(default_factory=dict)
    _unrevoked: dict[tuple[str, str], list[AdmittedKey]] = field(default_factory=dict, repr=False, compare=False)
    """Asked for at every entry; forgotten at every key statement."""

    @property
    def origin(self) -> str:
        return self.root.log if self.root else ""

    def active(self, subject: str, use: str = "identity") -> AdmittedKey | None:
        """The newest unrevoked key of `subject` for `use`."""
        return max(self._standing(subject, use), key=lambda each: each.since, default=None)

    def _standing(self, subject: str, use: str) -> list[AdmittedKey]:
        found = self._unrevoked.get((subject, use))
        if found is None:
            found = [each for each in self.keys.values() if (each.subject, each.use, each.until) == (subject, use, None)]
            self._unrevoked[(subject, use)] = found
        return found

    def hospitals(self) -> list[str]:
        return sorted({each.subject for each in self.keys.values() if _is_hospital(each) and each.until is None})

    def identities(self, subject: str) -> list[AdmittedKey]:
        """Every identity key that this party ever had."""
        return [each for each in self.keys.values() if (each.subject, each.use) == (subject, "identity")]

    def is_signed_by(self, signed: Signed, subject: str, use: str) -> bool:
        """Whether an active key of `subject` for `use` signed this entry."""
        return any(signed.envelope.is_signed_by(each.key) for each in self._standing(subject, use))

    def approvers(self, signed: Signed) -> int:
        """How many of the auditor's active approval keys signed this entry."""
        author = signed.statement.by
        keys = [each for each in self.keys.values() if (each.subject, each.use, each.until) == (author, "approval", None)]
        return sum(signed.envelope.is_signed_by(each.key) for each in keys)

    def speaks(self, signed: Signed) -> bool:
        """Whether the entry is signed by its claimed author, with the key its role signs such statements with."""
        author = signed.statement.by
        if role_of(author) is Role.AUDITOR:
            use = {"opening": "service", "rule": "root"}.get(signed.statement.kind, "approval")
            return self.is_signed_by(signed, author, use)
        return self.is_signed_by(signed, author, "identity")

    def findings_for(self, index: int, signed: Signed) -> list[Finding]:
        """Why a key statement at this index would have no effect; empty if it counts."""
        match signed.statement:
            case Root() as root:
                return list(self._root(index, signed, root))
            case KeyAdd() as add:
                return list(self._add(index, signed, add))
            case KeyRevoke() as revoke:
                return list(self._revoke(index, signed, revoke))
        raise AssertionError(f"not a key statement: {signed.statement.kind}")

    def accept(self, index: int, signed: Signed) -> None:
        """Applies a key statement that broke no rule."""
        match signed.statement:
            case Root() as root:
                self._accept_root(root)
            case KeyAdd() as add:
                self._accept(index, add)
            case KeyRevoke() as revoke:
                self.keys[unb64(revoke.key, 32)].until = index
        self._unrevoked.clear()

    def _root(self, index: int, signed: Signed, root: Root) -> Iterator[Finding]:
        if index != 0 or leaf_hash(signed.entry) != self.entry0:
            yield Finding(index, Rule.ROOT, "only entry 0, as pinned, states the root")
        if Identity.parse(root.auditor).role is not Role.AUDITOR or Identity.parse(root.coordinator).role is not Role.COORDINATOR:
            yield Finding(index, Rule.ROLE, "root names an auditor and a coordinator")
        for key in (root.auditor_root, root.coordinator_key):
            if not signed.envelope.is_signed_by(unb64(key, 32)):
                yield Finding(index, Rule.SIGNATURE, "the root is signed by auditor and coordinator")

    def _accept_root(self, root: Root) -> None:
        self.root = root
        for subject, use, text in ((root.auditor, "root", root.auditor_root), (root.coordinator, "identity", root.coordinator_key)):
            key = unb64(text, 32)
            self.keys[key] = AdmittedKey(subject, use, key, since=0)

    def _add(self, index: int, signed: Signed, add: KeyAdd) -> Iterator[Finding]:
        subject, key = Identity.parse(add.subject), unb64(add.key, 32)
        if not signed.envelope.is_signed_by(key):
            yield Finding(index, Rule.POSSESSION, "a new key signs its own entry")
        if key in self.keys:
            yield Finding(index, Rule.KEY_REUSED, "a key serves one subject and one use")
        if subject.role is Role.AUDITOR:
            if self.root is None or add.subject != self.root.auditor or add.use == "identity":
                yield Finding(index, Rule.ROLE, "the auditor adds approval and service keys of its own")
            if not self.is_signed_by(signed, add.subject, "root"):
                yield Finding(index, Rule.SIGNATURE, "an auditor's key is signed by the auditor's root")
            return
        if add.use != "identity" or (subject.role is Role.COORDINATOR and not self._is_own_coordinator(add)):
            yield Finding(index, Rule.ROLE, "hospitals, bureaux and the coordinator of entry 0 have identity keys, and no others")
        second = "root" if subject.role is Role.COORDINATOR else "approval"
        is_admitted = self.root is not None and self.is_signed_by(signed, self.root.auditor, second)
        if not is_admitted and not self._is_successor(signed, add):
            yield Finding(index, Rule.SIGNATURE, "an admission carries the auditor's signature too, a successor its predecessor's")
        if subject.role is Role.COORDINATOR:
            return
        if add.licence is None or self._is_licence_taken(add.subject, add.licence):
            yield Finding(index, Rule.LICENCE, "a legal identity and licence, for one subject only")

    def _is_own_coordinator(self, add: KeyAdd) -> bool:
        return self.root is not None and (add.subject, add.licence, add.outbreak) == (self.root.coordinator, None, False)

    def _is_successor(self, signed: Signed, add: KeyAdd) -> bool:
        """Whether the key in force hands over to this one: nothing else about the subject may change by it."""
        active = self.active(add.subject)
        same = active is not None and (active.licence, active.may_break_glass) == (add.licence, add.outbreak)
        return same and active is not None and signed.envelope.is_signed_by(active.key)

    def _is_licence_taken(self, subject: str, licence: Licence) -> bool:
        others = [each.licence for each in self.keys.values() if each.licence is not None and each.subject != subject]
        return any(licence.number == each.number or licence.legal_name == each.legal_name for each in others)

    def _accept(self, index: int, add: KeyAdd) -> None:
        if add.use == "identity" and (old := self.active(add.subject)) is not None:
            old.until = index  # a re-admission replaces the key; the old one speaks no more
        key = unb64(add.key, 32)
        self.keys[key] = AdmittedKey(add.subject, add.use, key, index, licence=add.licence, may_break_glass=add.outbreak)

    def _revoke(self, index: int, signed: Signed, revoke: KeyRevoke) -> Iterator[Finding]:
        found = self.keys.get(unb64(revoke.key, 32))
        if found is None or found.subject != revoke.subject or found.until is not None or found.use == "root":
            yield Finding(index, Rule.KEY_UNKNOWN, "revokes an active key of its subject")
            return
        auditor = self.root.auditor if self.root else ""
        is_own = revoke.by == revoke.subject and self.speaks(signed)
        is_auditors = revoke.by == auditor and (
            self.is_signed_by(signed, auditor, "approval") or self.is_signed_by(signed, auditor, "root")
        )
        if not (is_own or is_auditors):
            yield Finding(index, Rule.SIGNATURE, "revoked by its subject or by the auditor")


def _is_hospital(key: AdmittedKey) -> bool:
    return key.use == "identity" and key.subject.startswith("kapok://hospital/")
