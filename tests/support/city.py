"""A city in memory of one process: auditor, coordinator, bureau and hospitals with real keys, a real log and a real witness.

Tests change the world by assignment (`city.now += 60`) and by the statements they append. `Question` walks a query through its
life, one method a step, so that a test can lie at any of them. Nothing here is a mock: the parties are only short.
"""

import hashlib
import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from audit_ledger.cosignature import WitnessKey
from audit_ledger.log import LogStore
from audit_ledger.note import KeyType, LogKey, VerifierKey
from audit_ledger.opener import OpenRequest, SealedSeed
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
from protocols.answer import Answer, Coverage, Proven, Spending
from protocols.canonical import b64
from protocols.clock import month, stamp, unix
from protocols.contract import CONTRACT, colluders
from protocols.identity import Signer, SigningKey
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.binding import Binding, Member
from protocols.secagg.masks import mask, unmask, values_hash, vector_hash
from protocols.secagg.sealing import query_context, seal

ORIGIN = "ledger.kapok.test/2026"
NOW = unix("2026-11-23T08:00:00Z")
AUDITOR, COORDINATOR, BUREAU = "kapok://auditor/gz", "kapok://coordinator/gz", "kapok://bureau/cdc"
EMERGENCY = "kapok://bureau/emergency"  # may break the glass; admitted with the first outbreak query
PRICE = "0.010000000"
DIMENSION = 6


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


@dataclass
class Question:
    """One query of a city, from its statement to its answer. Steps are separate, so that a test can stop or lie between them."""

    city: City
    opener: OpenerCore
    purpose: str = "surveillance"
    blocks: tuple[str, ...] = ("2026-10", "2026-11")
    rounds: int = 1
    audience: Sequence[str] = ()
    entry: bytes = b""
    not_after: int = 0
    readys: dict[str, bytes] = field(default_factory=dict)
    seeds: dict[str, bytes] = field(default_factory=dict)
    exact: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    masked: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        city = self.city
        asker, signer = city.asker(self.purpose)
        query = st.Query(
            **city.head(asker),
            nonce=secrets.token_hex(32),
            purpose=self.purpose,
            programme=city.programme if self.purpose == "surveillance" else None,
            audience=tuple(self.audience or sorted(city.hospitals)),
            floor=CONTRACT.floor,
            valid_until=stamp(city.now + 86_400),
            rounds=self.rounds,
            spec={"table": "visits"},
            variances=("100.0000",),
        )
        self.entry = city.sign(query, signer)
        city.log_entry(self.entry)
        self.not_after = city.now + CONTRACT.window_s

    @property
    def query(self) -> st.Query:
        statement = st.parse(self.entry).statement
        assert isinstance(statement, st.Query)
        return statement

    @property
    def id(self) -> bytes:
        return st.parse(self.entry).id

    def ready(self, uri: str, first: int = 0, last: int = 0, **changes: Any) -> bytes:
        """Charges the hospital's account and logs its Ready."""
        hospital, city = self.city.hospitals[uri], self.city
        hospital.sequence += 1
        for block in self.blocks:
            spent = hospital.totals.get((self.purpose, block), Decimal(0))
            hospital.totals[(self.purpose, block)] = spent + Decimal(PRICE)
        totals = tuple(f"{hospital.totals[(self.purpose, block)]:.9f}" for block in self.blocks)
        seen = city.log.size
        statement = st.Ready(
            **city.head(uri),
            query=self.id.hex(),
            first_round=first,
            last_round=last,
            sequence=hospital.sequence,
            not_after=stamp(self.not_after),
            agreement=hospital.agreement.certificate(ORIGIN, uri, hospital.identity),
            sealing=self.opener.sealing(month(city.now), city.now),
            charge=st.Charge(
                purpose=self.purpose, price=PRICE, price_two=PRICE, blocks=self.blocks, totals=totals, totals_two=totals
            ),
            seen=st.Seen(size=seen, root=city.log._tree.root(seen).hex()),
        )
        self.readys[uri] = city.sign(statement.model_copy(update=changes), hospital.identity)
        city.log_entry(self.readys[uri])
        return self.readys[uri]

    def all_ready(self, uris: Iterable[str] = (), first: int = 0, last: int = 0) -> None:
        for uri in uris or sorted(self.city.hospitals):
            self.ready(uri, first, last)

    def binding(self, members: Iterable[str] = (), **changes: Any) -> Binding:
        uris = sorted(members or self.readys)
        found = tuple(Member(u, self.city.hospitals[u].agreement.public, st.parse(self.readys[u]).id) for u in uris)
        made = Binding(
            origin=ORIGIN,
            query=self.id,
            round=0,
            attempt=1,
            input_hash=b"",
            dimension=DIMENSION,
            ring=32,
            scale=1,
            variances=(1600,),
            n=len(uris),
            c=colluders(len(uris)),
            not_after=self.not_after,
            members=found,
            counting=tuple(uris),
        )
        return replace(made, **changes)

    def contribute(self, uri: str, binding: Binding, /, **changes: Any) -> SealedSeed:
        """The masked vector of one hospital, its sealed seed and its receipt."""
        hospital, u = self.city.hospitals[uri], binding.value
        self.exact[uri] = np.arange(binding.dimension, dtype=np.int64) + len(self.exact)
        self.seeds[uri] = secrets.token_bytes(32)
        pairs = [hospital.agreement.pair(uri, each.uri, each.agreement) for each in binding.members if each.uri != uri]
        self.masked[uri] = mask(self.exact[uri], binding.ring, u, self.seeds[uri], pairs)
        sealed = seal(self.seeds[uri], self.sealing_key(), query_context(u, uri))
        receipt = st.Receipt(
            **self.city.head(uri),
            query=binding.query.hex(),
            first_round=binding.round,
            last_round=binding.round,
            attempt=binding.attempt,
            binding=u.hex(),
            sealed=hashlib.sha256(sealed).hexdigest(),
            masked=vector_hash(self.masked[uri]).hex(),
        )
        signed = self.city.sign(receipt.model_copy(update=changes), hospital.identity)
        return SealedSeed(uri, sealed, vector_hash(self.masked[uri]), receipt=signed)

    def sealing_key(self) -> bytes:
        found = self.opener.keys.find(month(self.city.now))
        if found is None:
            raise AssertionError("no sealing key of this month")
        return found.public

    def request(self, binding: Binding | None = None) -> OpenRequest:
        """An honest request for this member set."""
        binding = binding or self.binding()
        seeds = tuple(self.contribute(each.uri, binding) for each in binding.members)
        return OpenRequest(binding.encode(), seeds)

    def open(self, request: OpenRequest) -> bytes:
        """Through the opener: the sum's bytes, the opening logged. Raises AssertionError with the refusals."""
        self.city.bring(self.opener)
        reply = self.opener.open(request, self.city.now)
        if reply.refusals or reply.opening is None:
            raise AssertionError(f"refused: {reply.refusals}")
        self.city.log_entry(reply.opening)
        self.city.bring(self.opener)
        found = self.opener.release(reply.query, reply.round, self.city.now)
        if isinstance(found, list) or found is None:
            raise AssertionError(f"not released: {found}")
        return found

    def finish(self, request: OpenRequest, stream_sum: bytes) -> np.ndarray[Any, Any]:
        """Logs receipts and the release; returns the noisy sum (which here has no noise)."""
        binding = Binding.decode(request.preimage)
        masked = {each.uri: self.masked[each.uri] for each in binding.members}
        values = unmask(masked, np.frombuffer(stream_sum, f"<u{binding.ring // 8}"), binding.ring, 10**8)
        for each in request.seeds:
            self.city.log_entry(each.receipt)
        self.release(binding, values)
        return values

    def release(self, binding: Binding, values: np.ndarray[Any, Any], /, **changes: Any) -> bytes:
        away = sorted(set(self.query.audience) - {each.uri for each in binding.members})
        statement = st.Release(
            **self.city.head(COORDINATOR),
            query=self.id.hex(),
            round=binding.round,
            attempt=binding.attempt,
            status="released",
            binding=binding.value.hex(),
            values=values_hash(values).hex(),
            answered=tuple(each.uri for each in binding.members),
            refused=(),
            away=tuple(away),
            left_out=(),
        )
        entry = self.city.sign(statement.model_copy(update=changes), self.city.coordinator)
        self.city.log_entry(entry)
        return entry

    def answer(self, values: np.ndarray[Any, Any]) -> Answer:
        """The bundle, as the coordinator composes it, under the newest checkpoint."""
        view, note = self.city.view(), self.city.checkpoint()
        facts = view.questions[self.id.hex()]
        index, binding, _ = facts.openings[0]
        assert facts.release is not None
        ended = facts.release[1]
        total = len(binding.members) * math.ceil(binding.variances[0] / (binding.n - binding.c))
        target = self.query.programme or self.id.hex()
        approvals = [view.programmes[target][0]] if self.query.programme else []
        if self.purpose != "outbreak":
            approval = view.approvals[target][0]
            approvals = [*[each for each in view.rules if each < approval][-1:], *approvals, approval]

        def proven(at: int) -> Proven:
            size = self.city.log.size
            proof = TlogProof(at, tuple(self.city.log.proof(at, size)), note)
            return Proven(entry=self.city.log.entries(at, at + 1)[0].decode(), proof=proof.encode().decode())

        return Answer(
            version=1,
            query=proven(facts.index),
            keys=tuple(proven(each) for each in sorted({key.since for key in view.authority.keys.values()})),
            approvals=tuple(proven(each) for each in approvals),
            readys=tuple(proven(view.seen_ids[each.ready]) for each in binding.members),
            opening=proven(index),
            receipts=tuple(proven(facts.receipts[(each.uri, 0)][0]) for each in binding.members),
            release=proven(facts.release[0]),
            values=tuple(int(value) for value in values),
            total_variances=(f"{total / 16:.4f}",),
            half_widths=(round(1.96 * math.sqrt(total / 16)),),
            price=PRICE,
            spending=(Spending(who="patient", epsilon="0.1", delta="1e-06"),),
            coverage=Coverage(
                answered=ended.answered, refused=ended.refused, away=ended.away, left_out=ended.left_out, incomplete=()
            ),
        )

    def live(self, members: Iterable[str] = ()) -> np.ndarray[Any, Any]:
        """The whole life: approval if the purpose needs one, Readys, opening, receipts, release."""
        if self.purpose == "research":
            self.city.approve(self.id.hex())
        self.all_ready(sorted(members))
        request = self.request()
        return self.finish(request, self.open(request))
