"""One resident's bucket: a hospital that knows the number, and a coordinator that lies, ask whether any other hospital counts it.

The coordinator adds a number of its own to every encrypted entry but the target's bucket, so that all of them are filled for
certain: what it counts then is that one bucket and the auditor's noise, which it cannot take off. No other choice serves it better
(`privacy/DISTINCT.md`, theorem 1). Here every party runs the product's own code: the hospitals' plan, fill and masks, the auditor's
zero test, the coordinator's counter; only what the coordinator encrypts is changed. The control is the OR opened as a plain sum.
"""

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import numpy as np

from audit_ledger.facts import QuestionFacts
from audit_ledger.zero_test import blinded_cells, shape_of
from hospital_node.plan import resident_buckets
from hospital_node.records.residents import Residents
from hospital_node.records.schema import open_read_only
from privacy.pricing import price
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from privacy.union import auditor_tail
from protocols import statements as st
from protocols.asked import Asked, variance_text
from protocols.clock import unix
from protocols.contract import CONTRACT, colluders
from protocols.query import QuerySpec
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.binding import Binding, Member
from protocols.secagg.masks import mask, seed_stream_sum
from protocols.secagg.ring import Integers, Vector
from protocols.union import BucketKey, Counter, ResidentKey, Shape, filled, place_of
from protocols.union.buckets import RING
from protocols.union.resident import TAG_BYTES
from simulations.attacks.allowed import best_by_noise
from simulations.attacks.attack import LIMIT, Outcome, Step, share_right, variance_for
from simulations.attacks.planted import Bits, Month, coins, question, visit_in, write_records

BUCKETS = 1024
QUESTIONS = 12
HONEST = tuple(f"kapok://hospital/h{n:02d}" for n in (1, 2, 3))
LIAR = "kapok://hospital/h04"
"""The colluding hospital; it has seen none of the residents whom it looks for."""
MEMBERS = (*HONEST, LIAR)


@dataclass(slots=True)
class Bucket:
    """One resident a cell is looked for, in as many questions of a month each as there are `questions`; half of them are there."""

    year: int
    questions: int = QUESTIONS
    name: str = "bucket"
    specs: list[QuerySpec] = field(init=False)
    secrets: list[Bits] = field(init=False)
    key: Residents = field(init=False)

    def __post_init__(self) -> None:
        self.specs = [_residents(Month(self.year, number)) for number in range(1, self.questions + 1)]
        self.secrets = [coins(spec.grid().size) for spec in self.specs]
        self.key = Residents(ResidentKey(os.urandom(32)))

    def run(self) -> Outcome:
        """In a city of its own: its coordinator is one that no real program is."""
        variance = variance_for(LIMIT)
        with TemporaryDirectory() as folder:
            homes = [Path(folder) / f"h{n:02d}" for n in range(1, len(MEMBERS) + 1)]
            self._write(homes)
            rounds = [_Round.of(self.key, spec, variance, homes) for spec in self.specs]
        found = [self._targets(number) for number in range(self.questions)]
        lied = np.concatenate([each.told_by_a_lie(tags) for each, tags in zip(rounds, found, strict=True)])
        bare = np.concatenate([each.told_by_a_sum(tags) for each, tags in zip(rounds, found, strict=True)])
        secret = np.concatenate(self.secrets)
        step = Step(price(CONTRACT.order, rounds[0].asked.pieces).one, share_right(lied, secret))
        return Outcome(self.name, len(secret), (step,), (), best_by_noise(variance), share_right(bare, secret))

    def _targets(self, number: int) -> bytes:
        """The tags of those who are looked for, cell by cell."""
        return b"".join(_tag(self.key, number, cell) for cell in range(len(self.secrets[number])))

    def _write(self, homes: Sequence[Path]) -> None:
        """Who is there came to one of the honest hospitals."""
        there = [(n, int(cell)) for n, secret in enumerate(self.secrets) for cell in np.flatnonzero(secret)]
        dealt = np.random.default_rng().integers(0, len(HONEST), len(there))
        for hospital, home in enumerate(homes):
            mine = [each for each, at in zip(there, dealt, strict=True) if at == hospital]
            write_records([visit_in(Month(self.year, n + 1), self.specs[n], cell) for n, cell in mine], [home])
            with closing(duckdb.connect(next(home.glob("*.duckdb")))) as records:
                records.execute("INSERT INTO resident_key VALUES (?)", [self.key.fingerprint])
                for person, (n, cell) in enumerate(mine, start=1):
                    records.execute(
                        "INSERT INTO resident VALUES (?, ?, ?)", [person, _tag(self.key, n, cell), self.key.fingerprint]
                    )


def _residents(month: Month) -> QuerySpec:
    asked = question(month, ("district",)).to_json()
    return QuerySpec.from_fields({**asked, "measures": [{"kind": "count_distinct_resident", "buckets": BUCKETS}]})


def _tag(key: Residents, number: int, cell: int) -> bytes:
    """As of a resident number; whose spelling it has is of no matter here."""
    return sha256(key.key.secret + bytes([number, cell])).digest()[:TAG_BYTES]


@dataclass(frozen=True, slots=True)
class _Round:
    """One question as coordinator and auditor hold it: Y, and the seeds."""

    asked: Asked
    binding: Binding
    shape: Shape
    masked: Vector
    seeds: Sequence[bytes]
    of_question: BucketKey

    @classmethod
    def of(cls, key: Residents, spec: QuerySpec, variance: Fraction, homes: Sequence[Path]) -> "_Round":
        asked = _asked(spec, variance)
        agreements = [AgreementKey(os.urandom(32), asked.query.at[:7]) for _ in MEMBERS]
        binding = _binding(asked, agreements)
        shape, of_question = shape_of(asked, binding), BucketKey.of(key.key, binding.query)
        seeds = [os.urandom(32) for _ in MEMBERS]
        total: Vector = np.zeros(shape.dimension, dtype="<u4")
        for hospital, home in enumerate(homes):
            with open_read_only(home) as records:
                exact = resident_buckets(spec, records, bytes(32), key.fingerprint, of_question)
            pairs = [
                agreements[hospital].pair(MEMBERS[hospital], MEMBERS[other], agreements[other].public)
                for other in range(len(MEMBERS))
                if other != hospital
            ]
            total += mask(_noisy(asked, binding, shape, exact, hospital), RING, binding.value, seeds[hospital], pairs)
        return cls(asked, binding, shape, total, seeds, of_question)

    def _places(self, tags: bytes) -> Integers:
        """Where the bucket of each target lies, one a cell."""
        return place_of(self.shape, np.arange(self.shape.cells), self.of_question.buckets_of(tags, self.shape.buckets))

    def told_by_a_lie(self, tags: bytes) -> Bits:
        """Whether each target's bucket seems to be filled, after everything else was filled."""
        added = 1 + np.frombuffer(os.urandom(4 * len(self.masked)), "<u4") // 2
        added[self._places(tags)] = 0
        counter = Counter(os.urandom)
        facts = QuestionFacts(0, self.binding.query, self.asked.query, b"")
        encrypted = counter.encrypted(self.masked + added.astype("<u4"))
        reply = blinded_cells(counter.public, encrypted, self.binding, facts, self.seeds, os.urandom)
        length = len(reply) // self.shape.cells
        found = counter.not_zero([reply[at : at + length] for at in range(0, len(reply), length)])
        certain = self.shape.width - 1 + auditor_tail(self.asked.pieces[0].variance)
        return np.array(found) - certain > 0

    def told_by_a_sum(self, tags: bytes) -> Bits:
        """The same of an OR that the auditor opens as it opens a sum."""
        opened = self.masked - seed_stream_sum(self.seeds, self.shape.dimension, RING, self.binding.value)
        found: Bits = opened[self._places(tags)] != 0
        return found


def _asked(spec: QuerySpec, variance: Fraction) -> Asked:
    at = spec.period.end if spec.period else None
    if at is None:
        raise AssertionError("a question without a period was made")
    query = st.Query(
        log="attacks.example/1",
        at=f"{at}T00:00:00Z",
        by="kapok://bureau/curious",
        nonce=os.urandom(32).hex(),
        purpose="surveillance",
        programme=None,
        audience=MEMBERS,
        floor=CONTRACT.floor,
        valid_until=f"{at + timedelta(days=1)}T00:00:00Z",
        rounds=1,
        spec=spec.to_json(),
        variances=(variance_text(variance),),
    )
    return Asked.of(query)


def _binding(asked: Asked, agreements: Sequence[AgreementKey]) -> Binding:
    id_, n = asked.query.envelope().statement_id(), len(MEMBERS)
    members = tuple(Member(uri, own.public, os.urandom(32)) for uri, own in zip(MEMBERS, agreements, strict=True))
    shape = asked.shape(n, _hospital_tail(asked, n))
    return Binding(
        *(asked.query.log, id_, 0, 1, sha256(b"").digest(), shape.dimension, RING, 1, asked.variances),
        *(n, colluders(n), unix(asked.query.valid_until), members, MEMBERS),
    )


def _hospital_tail(asked: Asked, n: int) -> int:
    return skellam_table(share_variance(asked.pieces[0].variance, n, colluders(n))).tail_bound


def _noisy(asked: Asked, binding: Binding, shape: Shape, exact: Integers, hospital: int) -> Integers:
    """A hospital's vector before its masks, as a node fills it."""
    share = share_variance(asked.pieces[0].variance, binding.n, binding.c)
    cell, bucket = np.divmod(np.flatnonzero(exact), shape.buckets)
    noise = draw(skellam_table(share), shape.cells, os.urandom)
    return filled(shape, place_of(shape, cell, bucket), hospital, noise, os.urandom)
