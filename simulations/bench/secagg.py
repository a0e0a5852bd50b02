"""What the secure sum costs beside the masks that it cannot do without.

Promise: all work of all 32 members, the auditor and the aggregator on one vector of 100,000 entries takes at most twice what
generating and adding the masks (AES-256-CTR, every pair at both ends, every seed at member and auditor) and one Ed25519
verification of every member by every other take. What no code can leave out beside those (every vector hashed twice, a seed
sealed and opened, a receipt signed and twice verified) makes 1.15 of it. Pair keys are warm: they, and the certificates under
them, are of the month.
The sampler draws at least 20 million noise values a second; what a round pays for its noise is a row of its own.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols.clock import stamp
from protocols.contract import colluders
from protocols.identity import SigningKey, fingerprint, verifies
from protocols.secagg.agreement import AgreementKey, PairKey
from protocols.secagg.binding import Binding, Member
from protocols.secagg.masks import PIECE_BYTES, mask, seed_stream_sum, unmask, vector_hash
from protocols.secagg.member import Expected, LoggedReady, binding_refusals
from protocols.secagg.ring import Integers, Vector
from protocols.secagg.sealing import SealingKey, query_context, seal
from protocols.statements import Charge, Ready, Receipt, Sealing, Seen, parse
from simulations.bench.rows import Row, load
from simulations.bench.turns import Turns, interleaved, seconds, stepwise

MEMBERS, ENTRIES, RING = 32, 100_000, 32
SIGMA_SQUARED = Fraction(400)
ORIGIN, MONTH, NOW, NOT_AFTER = "bench.kapok.example/1", "2025-06", 1_750_000_000, 1_750_000_600
QUERY = hashlib.sha256(b"a question").digest()
DRAWS = 4_000_000


@dataclass(frozen=True, slots=True)
class Party:
    """One member with everything that is warm when the member set arrives."""

    uri: str
    identity: SigningKey
    ready: bytes
    ready_id: bytes
    pairs: tuple[PairKey, ...]
    vector: Integers


@dataclass(frozen=True, slots=True)
class Sent:
    """What one member hands in."""

    uri: str
    sealed: bytes
    receipt: bytes
    masked: Vector


@dataclass(frozen=True, slots=True)
class Round:
    """A round of a city that has everything but the contributions."""

    binding: Binding
    parties: tuple[Party, ...]
    sealing: SealingKey

    def steps(self) -> Iterator[Integers | None]:
        """Every step of every party, one after the other: each member's, the auditor's, the aggregator's, who has the sum."""
        sent = []
        for party in self.parties:
            sent.append(self._contribute(party))
            yield None
        stream_sum = self._open(sent)
        yield None
        yield self._aggregate(sent, stream_sum)

    def run(self) -> Integers:
        """The sum of the vectors."""
        *_, total = self.steps()
        assert total is not None
        return total

    def _contribute(self, party: Party) -> Sent:
        _as_another_process()
        value = self.binding.value
        if found := binding_refusals(self.binding, self._expected(party), self._read(party), self._peers(), NOW):
            raise AssertionError(f"an honest round was refused: {found[0].reason}")
        seed = os.urandom(32)
        masked = mask(party.vector, RING, value, seed, party.pairs)
        sealed = seal(seed, self.sealing.public, query_context(value, party.uri))
        return Sent(party.uri, sealed, self._receipt(party, value, sealed, masked), masked)

    def _read(self, me: Party) -> dict[str, LoggedReady]:
        """Every other member's Ready, parsed and its signature verified, as this member reads them in the ledger."""
        return {party.uri: self._logged(party, is_own=party is me) for party in self.parties}

    def _logged(self, party: Party, is_own: bool) -> LoggedReady:
        signed = parse(party.ready)
        if not is_own and not signed.envelope.is_signed_by(party.identity.public):
            raise AssertionError("an honest Ready was not verified")
        assert isinstance(signed.statement, Ready)
        member = self.binding.member(party.uri)
        assert member is not None
        return LoggedReady(signed.id, signed.statement, member.agreement, fingerprint(party.identity.public))

    def _peers(self) -> frozenset[str]:
        return frozenset(fingerprint(party.identity.public) for party in self.parties)

    def _expected(self, party: Party) -> Expected:
        binding = self.binding
        return Expected(
            origin=ORIGIN, query=QUERY, first_round=0, last_round=0, not_after=NOT_AFTER, dimension=binding.dimension, ring=RING,
            scale=1, variances=binding.variances, input_hash=b"", floor=4, audience=frozenset(binding.counting), me=party.uri,
            my_ready=party.ready_id, last_attempt=0, accepted={},
        )  # fmt: skip

    def _receipt(self, party: Party, binding_value: bytes, sealed: bytes, masked: Vector) -> bytes:
        receipt = Receipt(
            log=ORIGIN, at=stamp(NOW), by=party.uri, query=QUERY.hex(), first_round=0, last_round=0, attempt=1,
            binding=binding_value.hex(), sealed=hashlib.sha256(sealed).hexdigest(), masked=vector_hash(masked).hex(),
        )  # fmt: skip
        return receipt.envelope().signed([party.identity]).encode()

    def _open(self, sent: Sequence[Sent]) -> Vector:
        """The auditor: every receipt, every seed, the sum of their streams."""
        _as_another_process()
        value = self.binding.value
        self._receipts(sent)
        seeds = [self.sealing.open(each.sealed, query_context(value, each.uri)) for each in sent]
        return seed_stream_sum(seeds, self.binding.dimension, RING, value)

    def _aggregate(self, sent: Sequence[Sent], stream_sum: Vector) -> Integers:
        _as_another_process()
        for each, receipt in zip(sent, self._receipts(sent), strict=True):
            if receipt.masked != vector_hash(each.masked).hex():
                raise AssertionError("an honest vector is not the one of its receipt")
        return unmask({each.uri: each.masked for each in sent}, stream_sum, RING, reach=2**31 - 1)

    def _receipts(self, sent: Sequence[Sent]) -> list[Receipt]:
        """Parsed and verified."""
        found = []
        for party, each in zip(self.parties, sent, strict=True):
            signed = parse(each.receipt)
            if not signed.envelope.is_signed_by(party.identity.public) or not isinstance(signed.statement, Receipt):
                raise AssertionError("an honest receipt was not verified")
            found.append(signed.statement)
        return found


def _as_another_process() -> None:
    """In life nobody has read or verified for anybody else: what the step before left in this process's caches goes."""
    parse.cache_clear()
    verifies.cache_clear()


def found_round(members: int = MEMBERS, entries: int = ENTRIES) -> Round:
    """Keys, Readys and the binding: all that the month and the ledger hold already."""
    auditor, sealing = SigningKey.generate(), SealingKey.generate(MONTH)
    uris = [f"kapok://hospital/h{number:02}" for number in range(members)]
    identities = [SigningKey.generate() for _ in uris]
    agreements = [AgreementKey.generate(MONTH) for _ in uris]
    certificate = sealing.certificate(ORIGIN, auditor)
    readys = [_ready(*each, certificate) for each in zip(uris, identities, agreements, strict=True)]
    ids = [parse(ready).id for ready in readys]
    listed = tuple(sorted(Member(uri, key.public, id_) for uri, key, id_ in zip(uris, agreements, ids, strict=True)))
    binding = Binding(
        origin=ORIGIN, query=QUERY, round=0, attempt=1, input_hash=b"", dimension=entries, ring=RING, scale=1,
        variances=(int(16 * SIGMA_SQUARED),), n=members, c=colluders(members), not_after=NOT_AFTER, members=listed,
        counting=tuple(uris),
    )  # fmt: skip
    return Round(binding, tuple(_parties(uris, identities, agreements, readys, ids, entries)), sealing)


def _parties(
    uris: Sequence[str],
    identities: Sequence[SigningKey],
    agreements: Sequence[AgreementKey],
    readys: Sequence[bytes],
    ids: Sequence[bytes],
    entries: int,
) -> list[Party]:
    vector = np.arange(entries, dtype=np.int64) % 1000
    return [
        Party(
            uri,
            identities[place],
            readys[place],
            ids[place],
            tuple(
                agreements[place].pair(uri, uris[other], agreements[other].public) for other in range(len(uris)) if other != place
            ),
            vector,
        )
        for place, uri in enumerate(uris)
    ]


def _ready(uri: str, identity: SigningKey, agreement: AgreementKey, sealing: Sealing) -> bytes:
    charge = Charge(
        purpose="surveillance", price="0.010000000", price_two="0.040000000", blocks=("2025-06",), totals=("0.010000000",),
        totals_two=("0.040000000",),
    )  # fmt: skip
    ready = Ready(
        log=ORIGIN, at=stamp(NOW), by=uri, query=QUERY.hex(), first_round=0, last_round=0, sequence=1, not_after=stamp(NOT_AFTER),
        agreement=agreement.certificate(ORIGIN, uri, identity), sealing=sealing, charge=charge, seen=Seen(size=1, root="0" * 64),
    )  # fmt: skip
    return ready.envelope().signed([identity]).encode()


def masks_and_verifications(round_: Round) -> Iterator[None]:
    """The reference: every mask generated and added as often as the protocol needs it, and n(n-1) signatures verified.

    One step a member, and one for the auditor's masks; keys, messages and buffers are at hand.
    """
    signed = [_bare(party) for party in round_.parties]
    for _ in round_.parties:
        _add_keystreams(round_.binding.dimension, len(signed))
        for key, signature, message in signed[1:]:
            key.verify(signature, message)
        yield
    _add_keystreams(round_.binding.dimension, len(signed))


def _bare(party: Party) -> tuple[Ed25519PublicKey, bytes, bytes]:
    envelope = parse(party.ready).envelope
    return Ed25519PublicKey.from_public_bytes(party.identity.public), envelope.signatures[0].value, envelope.pae()


def _add_keystreams(entries: int, count: int) -> None:
    """In the product's order, piece by piece, which was the quickest of those tried."""
    total, buffer, zeros = np.zeros(entries, np.uint32), bytearray(PIECE_BYTES), memoryview(bytes(PIECE_BYTES))
    words = np.frombuffer(buffer, np.uint32)
    streams = [Cipher(algorithms.AES256(os.urandom(32)), modes.CTR(bytes(16))).encryptor().update_into for _ in range(count)]
    for start in range(0, entries, len(words)):
        piece = total[start : start + len(words)]
        for write_into in streams:
            write_into(zeros[: piece.nbytes], buffer)
            np.add(piece, words[: len(piece)], piece)


def rows(is_quick: bool = False) -> list[Row]:
    turns = 3 if is_quick else 15
    round_ = found_round()
    if not (round_.run() == MEMBERS * round_.parties[0].vector).all():
        raise AssertionError("the masks do not cancel")
    measured = stepwise(round_.steps, lambda: masks_and_verifications(round_), turns)
    how = (
        f"{MEMBERS} x {ENTRIES:,} in a ring of {RING} bits, processor time; median of {turns} turns, the sides alternating by "
        f"member; {load()}"
    )
    return [_sum(measured, how), _noise(measured, how), _sampler(turns)]


def _sum(measured: Turns, how: str) -> Row:
    return Row.measured(
        "a secure sum beside its masks and verifications", "s", measured.median, how, bar="<= 2.0",
        reference=measured.median_reference, ratio=measured.ratio,
    )  # fmt: skip


def _noise(measured: Turns, how: str) -> Row:
    table = skellam_table(share_variance(SIGMA_SQUARED, MEMBERS, colluders(MEMBERS)))
    noise = seconds(lambda: [draw(table, ENTRIES) for _ in range(MEMBERS)])
    total = measured.median + noise
    return Row.measured("the same with every member's noise drawn", "s", total, how, reference=measured.median_reference)


def _sampler(turns: int) -> Row:
    table = skellam_table(share_variance(SIGMA_SQUARED, MEMBERS, colluders(MEMBERS)))
    spent = interleaved(lambda: draw(table, DRAWS), lambda: os.urandom(2 * DRAWS), turns)
    how = f"shares of sigma 20 over {MEMBERS} hospitals; two bytes of os.urandom each; median of {turns} turns; {load()}"
    return Row.measured("the sampler", "M draws/s", DRAWS / spent.median / 1e6, how, bar=">= 20")
