"""A city in memory of one process: auditor, coordinator, bureau and hospitals with real keys, a real log and a real witness.

Tests change the world by assignment (`city.now += 60`) and by the statements they append. Nothing here is a mock: the parties are
only short.
"""

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from audit_ledger.cosignature import WitnessKey
from audit_ledger.log import LogStore
from audit_ledger.note import KeyType, LogKey, VerifierKey
from audit_ledger.opener_core import OpenerCore
from audit_ledger.opener_keys import SealingKeys
from audit_ledger.opener_store import OpenerStore
from audit_ledger.party.home import Home
from audit_ledger.policy import Log, Policy, TrustFile, Witness
from audit_ledger.proof import TlogProof
from audit_ledger.tree import leaf_hash
from audit_ledger.view import LedgerView
from audit_ledger.witness import AddCheckpoint
from audit_ledger.witness_store import WitnessStore
from protocols import statements as st
from protocols.canonical import b64
from protocols.clock import month, stamp, unix
from protocols.contract import CONTRACT
from protocols.identity import Signer, SigningKey
from protocols.secagg.agreement import AgreementKey

ORIGIN = "ledger.kapok.test/2026"
NOW = unix("2026-11-23T08:00:00Z")
AUDITOR, COORDINATOR, BUREAU = "kapok://auditor/gz", "kapok://coordinator/gz", "kapok://bureau/cdc"
EMERGENCY = "kapok://bureau/emergency"  # may break the glass; admitted with the first outbreak query
DIMENSION = 5
"""Of a question's vector: the age bands of `charged.visits_of`."""


def key(name: str) -> SigningKey:
    """The same key for the same name, in every run."""
    return SigningKey.from_seed(hashlib.sha256(b"city " + name.encode()).digest())


@dataclass
class Hospital:
    """A hospital's keys and its account."""

    name: str
    identity: SigningKey
    agreement: AgreementKey
    sequence: int = 0
    totals: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    totals_two: dict[tuple[str, str], Decimal] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"kapok://hospital/{self.name}"


@dataclass
class City:
    """Founded with `n` admitted hospitals, one bureau, and a surveillance programme that is approved."""

    path: Path
    n: int = 5
    now: int = NOW
    programme: str = ""
    has_emergency_bureau: bool = False

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.root, self.approval, self.service = key("root"), key("approval"), key("service")
        self.coordinator, self.bureau, self.log_key, self.witness_key = (
            key("coordinator"),
            key("bureau"),
            key("log"),
            key("witness"),
        )
        self.hospitals = {f"kapok://hospital/{h.name}": h for h in map(make_hospital, [f"h{i:02d}" for i in range(1, self.n + 1)])}
        logs = LogKey(VerifierKey(ORIGIN, KeyType.ED25519, self.log_key.public))
        witness = WitnessKey(VerifierKey("auditor.kapok.test", KeyType.COSIGNATURE_ED25519, self.witness_key.public))
        self.folder = self.path / "ledger"
        self.log = LogStore(self.path / "log.sqlite", self.folder, logs, self.log_key)
        self.witness = WitnessStore(self.path / "witness.sqlite", witness, self.witness_key, lambda: self.now)
        self.witness.trust(logs)
        self.entry0 = self.founding()[0]
        self.trust = TrustFile(Policy((Log(logs),), (Witness("gz", witness),), (), "gz"), leaf_hash(self.entry0))
        for entry in [*self.founding(), self.admission(BUREAU, self.bureau)]:
            self.log_entry(entry)
        for each in self.hospitals.values():
            self.log_entry(self.admission(each.uri, each.identity))
        for each in self.hospitals.values():
            self.log_entry(self.sign(self.policy_of(each), each.identity))
        self.programme = self.approved_programme()

    # -- statements --------------------------------------------------------------------------------------------------

    def founding(self) -> list[bytes]:
        root = st.Root(
            **self.head(COORDINATOR),
            auditor=AUDITOR,
            auditor_root=b64(self.root.public),
            coordinator=COORDINATOR,
            coordinator_key=b64(self.coordinator.public),
            previous=None,
        )
        keys: list[tuple[str, SigningKey]] = [("approval", self.approval), ("service", self.service)]
        added = [self.sign(self.key_add(AUDITOR, use, made), made, self.root) for use, made in keys]
        return [self.sign(root, self.coordinator, self.root), *added]

    def key_add(
        self, subject: str, use: Any, made: SigningKey, licence: st.Licence | None = None, outbreak: bool = False
    ) -> st.KeyAdd:
        named: dict[str, Any] = {"action": "add", "subject": subject, "use": use, "key": b64(made.public)}
        return st.KeyAdd(**self.head(subject), **named, licence=licence, outbreak=outbreak)

    def admission(self, uri: str, made: SigningKey, outbreak: bool = False) -> bytes:
        licence = st.Licence(legal_name=f"legal name of {uri}", number=f"licence of {uri}")
        return self.sign(self.key_add(uri, "identity", made, licence, outbreak), made, self.approval)

    def asker(self, purpose: str) -> tuple[str, SigningKey]:
        """Who asks for this purpose; the emergency bureau is admitted when it is first needed."""
        if purpose != "outbreak":
            return BUREAU, self.bureau
        made = key("emergency")
        if not self.has_emergency_bureau:
            self.log_entry(self.admission(EMERGENCY, made, outbreak=True))
            self.has_emergency_bureau = True
        return EMERGENCY, made

    def policy_of(self, hospital: Hospital) -> st.Policy:
        peers = tuple(sorted(hashlib.sha256(each.identity.public).hexdigest() for each in self.hospitals.values()))
        return st.Policy(
            **self.head(hospital.uri),
            policy_sha256="0" * 64,
            order=CONTRACT.order,
            limits={p: f"{float(CONTRACT.limit(p)):.9f}" for p in ("surveillance", "research", "outbreak")},
            floor=CONTRACT.floor,
            purposes=("surveillance", "research", "outbreak"),
            tables=("visits", "diagnoses"),
            peers=peers,
        )

    def approved_programme(self, **changes: Any) -> str:
        programme = st.Programme(
            **self.head(BUREAU),
            title="influenza-like illness",
            purpose="surveillance",
            tables=("visits", "diagnoses"),
            max_price="1.000000000",
            until=stamp(self.now + 86_400 * 365),
        ).model_copy(update=changes)
        entry = self.sign(programme, self.bureau)
        self.log_entry(entry)
        self.approve(st.parse(entry).hex_id)
        return st.parse(entry).hex_id

    def approve(self, target: str) -> int:
        approval = st.Approval(**self.head(AUDITOR), target=target, until=stamp(self.now + 86_400 * 300))
        return self.log_entry(self.sign(approval, self.approval))

    def hold(self, is_held: bool) -> int:
        return self.log_entry(self.sign(st.Hold(**self.head(AUDITOR), is_held=is_held, reason="a look first"), self.approval))

    def revoke_key(self, uri: str, public: bytes) -> int:
        revoke = st.KeyRevoke(**self.head(AUDITOR), subject=uri, key=b64(public), reason="lost")
        return self.log_entry(self.sign(revoke, self.approval))

    def revoke_approval(self, target: str) -> int:
        return self.log_entry(self.sign(st.Revocation(**self.head(AUDITOR), target=target, reason="no"), self.approval))

    def head(self, by: str) -> dict[str, Any]:
        return {"log": ORIGIN, "at": stamp(self.now), "by": by}

    @staticmethod
    def sign(statement: st.Statement, *signers: Signer) -> bytes:
        return statement.envelope().signed(signers).encode()

    # -- the log -----------------------------------------------------------------------------------------------------

    def log_entry(self, entry: bytes) -> int:
        return self.log.append([(st.parse(entry).id, entry)]).result()[0]

    def checkpoint(self) -> bytes:
        """A cosigned and published checkpoint of everything logged so far, at this city's time."""
        note = self.log.checkpoint_covering(self.log.size)
        latest = self.witness.latest(ORIGIN)
        old = latest.size if latest else 0
        answer = self.witness.add_checkpoint(AddCheckpoint(old, tuple(self.log.consistency(old, self.log.size)), note).encode())
        if answer.status != 200:
            raise AssertionError(f"the witness refused: {answer.body!r}")
        cosigned = note + answer.body
        self.log.publish(cosigned)
        return cosigned

    def follow(self, start: int) -> tuple[int, list[bytes], bytes]:
        """What a follower at size `start` is sent."""
        cosigned = self.checkpoint()
        return start, self.log.entries(start, self.log.size), cosigned

    def prove(self, entry: bytes) -> bytes:
        cosigned, index = self.checkpoint(), self.log.position_of(st.parse(entry).id)
        if index is None:
            raise AssertionError("the entry is not in the log")
        return TlogProof(index, tuple(self.log.proof(index, self.log.size)), cosigned).encode()

    def view(self) -> LedgerView:
        """A replay of the whole log; asserts nothing."""
        view = LedgerView(leaf_hash(self.entry0))
        for entry in self.log.entries(0, self.log.size):
            view.apply(entry)
        return view

    def findings(self) -> list[Any]:
        """What a monitor finds in the whole log."""
        view = LedgerView(leaf_hash(self.entry0))
        return [found for entry in self.log.entries(0, self.log.size) for found in view.apply(entry)]

    def close(self) -> None:
        self.log.close()
        self.witness.close()

    # -- the opener --------------------------------------------------------------------------------------------------

    def opener(self, name: str = "opener") -> OpenerCore:
        """The auditor's opener on its own store, which has followed the ledger."""
        home = Home(self.path / name)
        core = OpenerCore(self.trust, OpenerStore(home.path / "opener.sqlite"), SealingKeys(home), self.service)
        self.bring(core)
        return core

    def bring(self, core: OpenerCore) -> None:
        refused = core.follow(*self.follow(core.size), self.now)
        if refused:
            raise AssertionError(f"the opener did not follow: {refused}")


def make_hospital(name: str) -> Hospital:
    seed = hashlib.sha256(b"agreement " + name.encode()).digest()
    return Hospital(name, key(name), AgreementKey(seed, month(NOW)))
