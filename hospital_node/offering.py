"""An Offer becomes a signed Ready, or a signed Refused that names every broken rule; the charge is on the disk before the Ready.

Rules, in order (each a pure function of query, ledger, policy, journal and clock; none reads a record)
 1. The gate: proof, freshness, no rollback, bytes, audience, approvals, no hold (`audit_ledger.gate`).
 2. The question parses into a shape this node can answer; its price is recomputed here at the policy's order, of a question with
    weights that of each block.
 3. The policy file (an emergency's asker is judged by the gate).
 4. Exact mode: permitted by file and ledger, at most so often a month. Its Ready charges nothing.
 5. The account: not behind the ledger, no Ready of ours in the ledger that the journal does not know, the price within
    the programme's cap, every block within its limit (the smaller of the file's and of the one stated in the ledger).
 6. The auditor's sealing key: signed by the service key in force, of the month in which the window opened.
 7. The node: not paused, room on the disk, records present; the plan runs on empty tables.
An Offer that was answered with a Ready is answered with the same bytes while its window is open.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Any

from audit_ledger.exact import permits, table_of
from audit_ledger.gate import Gate, Passage
from audit_ledger.view import Account as LedgerAccount
from audit_ledger.view import QuestionFacts
from hospital_node.account import Standing, still_coming
from hospital_node.counting import Plans
from hospital_node.errors import JournalFailed, WrongSize
from hospital_node.journal import Journal, StoredQuestion, StoredReady
from hospital_node.policy import Policy, policy_refusals
from hospital_node.records.errors import RecordsError
from hospital_node.trace import Trace
from privacy.errors import PrivacyError
from privacy.filter import Account, Budget, encode_charge, refusals
from privacy.pricing import NOTHING, Price, price, prices, reach
from privacy.union import hospital_tail
from protocols.asked import Asked
from protocols.clock import month, stamp
from protocols.contract import CONTRACT, colluders
from protocols.errors import BadSignature, ProtocolError
from protocols.exact import is_exact
from protocols.identity import Signer
from protocols.query import QueryError
from protocols.refusal import Reason, Refusal
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.sealing import require_sealing_key
from protocols.statements import Agreement, Charge, ChargeByBlock, Ready, Reasoned, Refused, Sealing, Seen, parse
from protocols.union.question import MAX_ENTRIES

MAX_REASONS = 64
_NO_WINDOW = month(0)  # what a proof without a witness time leads to; the gate has refused it already
_NO_ROOM = Refusal(Reason.DISK_FULL, "room for the journal", "none")
Random = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back for an Offer: the envelope of a Ready, or of a Refused with its reasons."""

    query: str
    envelope: bytes
    refusals: list[Refusal]

    @property
    def is_ready(self) -> bool:
        return not self.refusals


@dataclass(frozen=True, slots=True)
class Offered:
    """An Offer with all that was found out about it. Where `refusals` is empty, everything else is there."""

    query: str
    passage: Passage
    asked: Asked | None
    cost: Price | None
    sealing: Sealing | None
    standing: Standing
    generation: str
    refusals: list[Refusal]


@dataclass(slots=True)
class Offering:
    """Judges Offers over the followed ledger. `has_room` says whether the disk has the free space that IT asked for."""

    me: str
    origin: str
    identity: Signer
    gate: Gate
    journal: Journal
    plans: Plans
    policy: Policy
    has_room: Callable[[], bool]
    clock: Callable[[], int]
    random: Random
    trace: Trace
    _agreed: tuple[bytes, Agreement] | None = None
    """The certificate of the latest agreement key, under the hash of its seed and the log."""

    def answer(self, entry: bytes, proof: bytes, sealing: bytes, first_round: int, last_round: int) -> Reply:
        now, query = self.clock(), _query_id(entry)
        with self.trace.step(query, "gate"):
            passage = self.gate.pass_query(entry, proof, now)
        before = self.journal.ready(query, first_round)
        if before is not None:
            return self._again(query, before, passage, now)
        offered = self._judge(query, passage, sealing, (first_round, last_round), now)
        if offered.refusals:
            return self._refuse(query, offered.refusals, now, offered.cost if passage.facts else None, passage.facts is not None)
        try:
            return self._charge(offered, now)
        except JournalFailed:
            # Nothing left. Where the charge stands all the same, the next Offer is answered with the Ready beside it.
            return self._refuse(query, [_NO_ROOM], now, offered.cost, True)

    def _again(self, query: str, before: StoredReady, passage: Passage, now: int) -> Reply:
        found = [*passage.refusals, *self._paused()]
        if before.is_closed:
            found.append(Refusal(Reason.BEHIND_LEDGER, "a Ready of this journal", "one of before the restore", query))
        if now >= before.not_after:
            found.append(Refusal(Reason.WINDOW_CLOSED, stamp(before.not_after), stamp(now)))
        return self._refuse(query, found, now, None, False) if found else Reply(query, before.envelope, [])

    def _judge(self, query: str, passage: Passage, sealing: bytes, rounds: tuple[int, int], now: int) -> Offered:
        asked, cost, found = self._price(passage.facts, rounds)
        standing = self._standing(now)
        found = [*passage.refusals, *found]
        if asked is not None and passage.facts is not None:
            found += policy_refusals(asked, self.policy, self._exact_this_month(asked, now) if asked.is_exact else 0)
            found += [*self._exact(asked), *self._residents(asked)]
            found += [each for block in asked.blocks for each in self.gate.follower.view.refusals_of_block(self.me, block, now)]
            found += self._account(passage.facts, asked, cost, standing)
        certificate, wrong = self._sealing(sealing, month_of(passage))
        generation, missing = self._records()
        found += [*wrong, *self._paused(), *self._disk(), *missing]
        if asked is not None and not missing:
            found += self.plans.refusals(asked, generation)
        if asked is not None and not found:
            found += self._probe(asked)
        return Offered(query, passage, asked, cost, certificate, standing, generation, found)

    def _price(self, facts: QuestionFacts | None, rounds: tuple[int, int]) -> tuple[Asked | None, Price | None, list[Refusal]]:
        if facts is None:
            return None, None, []
        try:
            asked = Asked.of(facts.query)
        except (ProtocolError, QueryError) as error:
            return None, None, [Refusal(Reason.MALFORMED, "a question of this version", error.code)]
        wrong = []
        if rounds != (asked.first_round, asked.last_round):
            wrong = [Refusal(Reason.MALFORMED, f"rounds {asked.first_round}..{asked.last_round}", f"{rounds[0]}..{rounds[1]}")]
        if asked.is_exact:
            return asked, NOTHING, wrong
        try:
            return asked, price(self.policy.order, asked.pieces, asked.query.rounds), wrong
        except PrivacyError as error:
            return asked, None, [Refusal(Reason.UNPRICEABLE, f"a price at order {self.policy.order}", error.code), *wrong]

    # -- the account

    def _standing(self, now: int) -> Standing:
        ledger = self.gate.follower.view.accounts.get(self.me)
        local, last = self.journal.spent(), self.journal.last_sequence()
        stored = self.journal.readys_until(now - CONTRACT.clock_tolerance_s, ledger.sequence if ledger else 0)
        standing = Standing.of(ledger, still_coming(self.gate.follower.view, self.me, stored), local, last)
        if standing.is_behind and self.journal.note("adopt") is not None:
            self.journal.adopt(standing.spent.totals, (ledger or LedgerAccount()).sequence)
            return self._standing(now)
        return standing

    def _account(self, facts: QuestionFacts, asked: Asked, cost: Price | None, standing: Standing) -> Iterator[Refusal]:
        if standing.is_behind:
            yield Refusal(Reason.BEHIND_LEDGER, "a journal that knows every Ready of ours in the ledger", "an older one")
        if self.me in facts.readys:
            yield Refusal(
                Reason.BEHIND_LEDGER, "no Ready of ours that the journal does not know", "one in the ledger", facts.id.hex()
            )
        if cost is None or asked.is_exact:
            return  # exact mode charges nothing: `_exact` stands in the budget's place
        cap = self.gate.follower.view.price_cap(asked.query)
        if cap is not None and cost.one > Fraction(cap):
            yield Refusal(Reason.BUDGET_EXHAUSTED, encode_charge(Fraction(cap)), encode_charge(cost.one), "programme")
        limit = min(self.policy.budget.limit(asked.query.purpose), self._stated_limit(asked.query.purpose))
        budget = Budget({asked.query.purpose: limit})
        for due, blocks in _alike(self._due(asked, cost), asked.blocks):
            for each in refusals(standing.spent, budget, asked.query.purpose, blocks, due.one):
                left = max(Fraction(0), each.limit - each.spent)
                yield Refusal(Reason.BUDGET_EXHAUSTED, encode_charge(left), encode_charge(each.charge), each.block)

    def _due(self, asked: Asked, cost: Price) -> tuple[Price, ...]:
        """What each block pays: by its weight where the question has weights, else all the same."""
        if asked.weights:
            return prices(self.policy.order, asked.pieces, asked.weights)
        return (cost,) * len(asked.blocks)

    def _exact(self, asked: Asked) -> Iterator[Refusal]:
        """Like a limit, a permission counts once the ledger holds it: a Ready before that would have no effect there."""
        if asked.is_exact and not permits(self.gate.follower.view, self.me, asked.table):
            yield Refusal(Reason.EXACT_NOT_PERMITTED, "a policy in the ledger that states it", asked.table, self.me)

    def _residents(self, asked: Asked) -> Iterator[Refusal]:
        """As in exact mode; and the vector that so many hospitals make must be one that the auditor will open."""
        if not asked.is_of_residents:
            return
        [piece], n = asked.pieces, len(asked.query.audience)
        stated, own = self.gate.follower.view.policies.get(self.me), self.policy.residents(asked.table)
        if own is not None and (stated is None or own not in stated.tables):
            yield Refusal(Reason.RESIDENTS_NOT_PERMITTED, "a policy in the ledger that states it", asked.table, self.me)
        length = asked.masked_length(n, hospital_tail(piece.variance, n, colluders(n))) if n > colluders(n) else MAX_ENTRIES + 1
        if length > MAX_ENTRIES:
            yield Refusal(Reason.TOO_MANY_CELLS, str(MAX_ENTRIES), str(length))

    def _exact_this_month(self, asked: Asked, now: int) -> int:
        """Exact questions over the table that got a Ready of this hospital in this month, in the ledger or on its way there."""
        questions = self.gate.follower.view.questions.values()
        others = [each for each in questions if is_exact(each.query.spec) and table_of(each.query) == asked.table]
        return sum(self._was_ready(each, now) for each in others if each.query != asked.query)

    def _was_ready(self, facts: QuestionFacts, now: int) -> bool:
        logged = facts.readys.get(self.me)
        if logged is not None:
            return logged.statement.at[:7] == month(now)
        stored = self.journal.ready(facts.id.hex(), 1 if facts.query.rounds > 1 else 0)
        return stored is not None and month(stored.not_after - CONTRACT.window_s) == month(now)

    def _stated_limit(self, purpose: str) -> Fraction:
        # A Ready above the limit that stands in the ledger would have no effect there, and the charge would be lost.
        stated = self.gate.follower.view.policies.get(self.me)
        return Fraction(stated.limits.get(purpose, "0")) if stated else Fraction(0)

    # -- sealing key, node, plan

    def _sealing(self, raw: bytes, wanted: str) -> tuple[Sealing | None, list[Refusal]]:
        authority = self.gate.follower.view.authority
        service = authority.active(authority.root.auditor, "service") if authority.root else None
        try:
            certificate = Sealing.model_validate_json(raw)
            if service is None:
                raise BadSignature("no service key")
            require_sealing_key(certificate, authority.origin, service.key)
        except (ValueError, ProtocolError):
            return None, [Refusal(Reason.SEALING_KEY, "a sealing key signed by the auditor's service key", "another")]
        if certificate.month != wanted and wanted != _NO_WINDOW:
            return None, [Refusal(Reason.SEALING_KEY, wanted, certificate.month)]
        return certificate, []

    def _paused(self) -> list[Refusal]:
        return [Refusal(Reason.PAUSED, "a node that answers", "paused by IT")] if self.journal.note("paused") is not None else []

    def _disk(self) -> list[Refusal]:
        return [] if self.has_room() else [_NO_ROOM]

    def _records(self) -> tuple[str, list[Refusal]]:
        try:
            return self.plans.generation(), []
        except RecordsError as error:
            return "", [Refusal(Reason.NO_RECORDS, "records that can be asked", error.code)]

    def _probe(self, asked: Asked) -> list[Refusal]:
        try:
            self.plans.probe(asked)
            _make_noise_table(asked)
        except WrongSize:
            return [Refusal(Reason.PLAN_FAILED, "as many weights as the study's model has", "another number")]
        except Exception:  # noqa: BLE001 (whatever a plan raises on empty tables is about the question, and is a no)
            return [Refusal(Reason.PLAN_FAILED, "a plan that runs on empty tables", "one that does not")]
        return []

    # -- answers

    def _charge(self, offered: Offered, now: int) -> Reply:
        asked, cost, sealing, passage = offered.asked, offered.cost, offered.sealing, offered.passage
        accepted = self.gate.follower.accepted
        if asked is None or cost is None or sealing is None or accepted is None:
            raise AssertionError("a question without refusals has a shape, a price, a sealing key and a checkpoint")
        purpose, standing = asked.query.purpose, offered.standing
        stated, spent, due = standing.stated, standing.spent, self._due(asked, cost)
        if not asked.is_exact:  # which leaves every total as it is
            for each, blocks in _alike(due, asked.blocks):
                stated = stated.after(purpose, blocks, each.one, each.two)
                spent = spent.after(purpose, blocks, each.one, each.two)
        charge = _charge(asked, cost, due, stated)
        of_month = month_of(passage)
        origin = asked.query.log
        agreement = self._agreement(of_month, origin)
        ready = Ready(
            log=origin,
            at=stamp(now),
            by=self.me,
            query=offered.query,
            first_round=asked.first_round,
            last_round=asked.last_round,
            sequence=standing.next_sequence,
            not_after=stamp(passage.not_after),
            agreement=agreement,
            sealing=sealing,
            charge=charge,
            seen=Seen(size=accepted.checkpoint.size, root=accepted.checkpoint.root.hex()),
        )
        signed = ready.envelope().signed([self.identity])
        stored = StoredReady(
            offered.query,
            ready.first_round,
            ready.last_round,
            signed.statement_id(),
            ready.sequence,
            passage.not_after,
            of_month,
            offered.generation,
            signed.encode(),
        )
        with self.trace.step(offered.query, "journal"):
            # Spend before Ready: a crash after this line loses budget, a crash before it loses nothing.
            recorded = StoredQuestion(offered.query, now, "ready", charge.price, ())
            totals = {} if asked.is_exact else {(purpose, block): spent.spent(purpose, block) for block in asked.blocks}
            self.journal.charge(stored, totals, recorded)
        return Reply(offered.query, stored.envelope, [])

    def _agreement(self, of_month: str, origin: str) -> Agreement:
        """The month's key with its signatures; on the disk before anybody learns its public half, and signed once."""
        seed = self.journal.agreement_seed(of_month) or self.journal.agreement_seed(of_month, self.random(32))
        if seed is None:
            raise JournalFailed("the agreement key was not stored")
        of = sha256(seed + origin.encode()).digest()
        if self._agreed is None or self._agreed[0] != of:
            self._agreed = of, AgreementKey(seed, of_month).certificate(origin, self.me, self.identity)
        return self._agreed[1]

    def _refuse(self, query: str, found: list[Refusal], now: int, cost: Price | None, is_logged: bool) -> Reply:
        reasons = tuple(Reasoned(**each.to_json()) for each in found[:MAX_REASONS])
        statement = Refused(log=self.origin, at=stamp(now), by=self.me, query=query, reasons=reasons)
        if is_logged:  # what is not a question of the ledger leaves no trace here: a flood of it cannot fill the disk
            codes = tuple(dict.fromkeys(str(each.reason) for each in found))
            asked = StoredQuestion(query, now, "refused", encode_charge(cost.one) if cost else "", codes)
            self._try_to_record(asked)
        return Reply(query, statement.envelope().signed([self.identity]).encode(), found)

    def _try_to_record(self, question: StoredQuestion) -> None:
        try:
            self.journal.record_question(question)
        except JournalFailed:
            return  # a full disk refuses the question as well; it needs no record to do so


def _alike(due: tuple[Price, ...], blocks: Iterable[str]) -> Iterator[tuple[Price, list[str]]]:
    """Blocks that follow one another and pay the same."""
    for price_of, pairs in groupby(zip(due, blocks, strict=True), key=itemgetter(0)):
        yield price_of, [block for _, block in pairs]


def _charge(asked: Asked, cost: Price, due: tuple[Price, ...], stated: Account) -> Charge | ChargeByBlock:
    spends = [stated.spent(asked.query.purpose, block) for block in asked.blocks]
    told: dict[str, Any] = {
        "purpose": asked.query.purpose,
        "price": encode_charge(cost.one),
        "price_two": encode_charge(cost.two),
        "blocks": asked.blocks,
        "totals": tuple(encode_charge(each.single) for each in spends),
        "totals_two": tuple(encode_charge(each.doubled or Fraction(0)) for each in spends),
    }
    if not asked.weights:
        return Charge(**told)
    ones, twos = (tuple(map(encode_charge, each)) for each in zip(*((each.one, each.two) for each in due), strict=True))
    return ChargeByBlock(**told, prices=ones, prices_two=twos)


def month_of(passage: Passage) -> str:
    """The month in which the window opened: its sealing and agreement keys are the ones in force."""
    return month(passage.not_after - CONTRACT.window_s)


def _query_id(entry: bytes) -> str:
    """The statement's id; of bytes that are no statement, their hash."""
    try:
        return parse(entry).hex_id
    except ProtocolError:
        return sha256(entry).hexdigest()


def _make_noise_table(asked: Asked) -> None:
    """Before the Ready, as if all of the audience took part: a fit's table takes half a second, which no slot should hold.

    In a city of nodes on few cores these seconds add up; made in the slot, they were an overrun of every node at once.
    """
    n = len(asked.query.audience)
    reach(n, n, colluders(n), asked.pieces)
