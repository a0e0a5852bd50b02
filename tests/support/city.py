"""A question's life in a city of `tests.support.founded`: one method a step, so that a test can lie at any of them."""

import hashlib
import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np

from audit_ledger.opener import OpenRequest, SealedSeed
from audit_ledger.opener_core import OpenerCore
from audit_ledger.proof import TlogProof
from protocols import statements as st
from protocols.answer import Answer, Coverage, Proven, Spending
from protocols.asked import Asked
from protocols.clock import month, stamp
from protocols.contract import CONTRACT, colluders
from protocols.errors import ProtocolError
from protocols.exact import is_exact
from protocols.query import QueryError
from protocols.secagg.binding import Binding, Member
from protocols.secagg.masks import mask, unmask, values_hash, vector_hash
from protocols.secagg.sealing import query_context, seal
from tests.support.charged import fit_of, honest, visits_of
from tests.support.founded import (
    AUDITOR,
    BUREAU,
    COORDINATOR,
    DIMENSION,
    EMERGENCY,
    NOW,
    ORIGIN,
    City,
    Hospital,
    key,
    make_hospital,
)

__all__ = [
    "AUDITOR",
    "BUREAU",
    "COORDINATOR",
    "DIMENSION",
    "EMERGENCY",
    "NOW",
    "ORIGIN",
    "City",
    "Hospital",
    "Question",
    "key",
    "make_hospital",
]


@dataclass
class Question:
    """One query of a city, from its statement to its answer. Steps are separate, so that a test can stop or lie between them.

    `blocks` are the months that it asks about, where `stated` holds no spec.
    """

    city: City
    opener: OpenerCore
    purpose: str = "surveillance"
    blocks: tuple[str, ...] = ("2026-10", "2026-11")
    rounds: int = 1
    audience: Sequence[str] = ()
    entry: bytes = b""
    not_after: int = 0
    stated: dict[str, Any] = field(default_factory=dict)
    apart: int = 1
    """How far the numbers of a hospital's vector are apart."""
    last_input: tuple[int, ...] = ()
    """Of a training: the numbers that its release states before its last round's vector."""
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
            spec=visits_of(self.blocks) if self.rounds == 1 else fit_of(self.blocks),
            variances=("400.0000",) if self.rounds == 1 else ("1000000000.0000",),
        ).model_copy(update=self.stated)
        with suppress(ProtocolError, QueryError):  # a test may ask what nobody answers
            self.blocks = Asked.of(query).blocks
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

    def charge(self, uri: str) -> st.Charge | st.ChargeByBlock:
        """What the hospital's next Ready states, if it is honest."""
        hospital = self.city.hospitals[uri]
        return honest(Asked.of(self.query), hospital.totals, hospital.totals_two)

    def ready(self, uri: str, first: int = 0, last: int = 0, **changes: Any) -> bytes:
        """Charges the hospital's account and logs its Ready."""
        hospital, city = self.city.hospitals[uri], self.city
        hospital.sequence += 1
        charge = self.charge(uri)
        for totals, after in ((hospital.totals, charge.totals), (hospital.totals_two, charge.totals_two)):
            totals.update({(charge.purpose, block): Decimal(each) for block, each in zip(charge.blocks, after, strict=True)})
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
            charge=charge,
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
            variances=tuple(int(Decimal(each) * 16) for each in self.query.variances),
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
        self.exact[uri] = self.apart * np.arange(binding.dimension, dtype=np.int64) + len(self.exact)
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

    def finish(
        self, request: OpenRequest, stream_sum: bytes, before: "Callable[[Binding, np.ndarray[Any, Any]], None] | None" = None
    ) -> np.ndarray[Any, Any]:
        """Logs receipts, what is to stand before the release, and the release; returns the noisy sum (which here has no noise)."""
        binding = Binding.decode(request.preimage)
        masked = {each.uri: self.masked[each.uri] for each in binding.members}
        vector = unmask(masked, np.frombuffer(stream_sum, f"<u{binding.ring // 8}"), binding.ring, 10**8)
        values = np.concatenate([np.array(self.last_input, np.int64), vector])
        for each in request.seeds:
            self.city.log_entry(each.receipt)
        if before is not None:
            before(binding, values)
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
        [(index, binding, _)] = facts.openings.values()
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
            receipts=tuple(proven(facts.receipts[(each.uri, binding.round)][0]) for each in binding.members),
            release=proven(facts.release[0]),
            values=tuple(int(value) for value in values),
            total_variances=(f"{total / 16:.4f}",),
            half_widths=(round(1.96 * math.sqrt(total / 16)),),
            price=honest(Asked.of(self.query)).price,
            spending=() if is_exact(self.query.spec) else (Spending(who="patient", epsilon="0.1", delta="1e-06"),),
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
