"""Verifies an answer file offline: the trust file, the bundle, and nothing else.

Rules 1 and 2 are in `bundle_proofs`, the others here:

1. Every entry's proof leads to a checkpoint with the log's signature and the quorum's cosignatures; one size has one root.
2. Entry 0 is the pinned one; every key is admitted by entries of the bundle; every statement is signed by a key that was admitted
   before it, and is for this log. What carried over from the log before is proved at the end that entry 0 states (`bundle_before`).
3. Order by index: programme and its approval before a surveillance query, a single query's approval after it; then the Readys, the
   opening, the receipts, the release.
4. The opened binding is of this query; its members are the Readys of the bundle with their certified keys; n, c, floor and window
   hold; one receipt of each member under this very binding.
5. The release is of this binding; its hash is that of the values; its lists are the coverage's; price, variances and
   sizes are those of the Readys and the binding.
6. The mode: an exact answer keeps every rule of its statement, is of the whole audience, and states neither price nor epsilon; the
   policies of its hospitals, and which exact answers came before it, stand in the ledger alone.

What a bundle cannot show is named: that nothing was revoked, that no second history exists between its checkpoints, and figures
that nobody signed.
"""

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from pydantic import ValidationError

from audit_ledger import due
from audit_ledger.answer_figures import hash_of, is_half_width
from audit_ledger.answer_report import PRIVATE, AnswerReport, NotAnAnswer, NotShown, Problem
from audit_ledger.bundle_before import Placed, admit_keys
from audit_ledger.bundle_proofs import ProvenAnswer
from audit_ledger.exact import FREE
from audit_ledger.model_card import answer_findings, card_json, is_due
from audit_ledger.policy import TrustFile
from audit_ledger.residents import is_shaped
from audit_ledger.rules_ready import is_sealed_by
from audit_ledger.vectors import Committed, Vectors
from protocols.answer import Answer
from protocols.asked import VARIANCE_STEPS, Asked
from protocols.canonical import unb64
from protocols.clock import unix
from protocols.contract import CONTRACT, colluders
from protocols.errors import BadSignature, MalformedBytes, ProtocolError
from protocols.exact import EXACT, is_exact, statement_refusals
from protocols.identity import Role
from protocols.query import QueryError, tables_named
from protocols.secagg.agreement import require_certified
from protocols.secagg.binding import Binding
from protocols.statements import (
    Approval,
    ApprovalRule,
    ModelCard,
    Opening,
    Programme,
    Query,
    Ready,
    Receipt,
    Release,
)
from protocols.union import asks_for_residents

__all__ = ["AnswerReport", "NotAnAnswer", "Problem", "verify_answer"]


def verify_answer(raw: bytes, trust: TrustFile, now: int, vectors: Path | None = None) -> AnswerReport:
    """`vectors`: a folder of masked vectors, to make the release again. Raises NotAnAnswer for a file that is none."""
    try:
        answer = Answer.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(each) for each in first["loc"]) or "file"
        raise NotAnAnswer(f"answer, {place}: {first['msg'].lower()}") from None
    return _Check(answer, trust, now).run(Vectors(vectors) if vectors else None)


class _Check(ProvenAnswer):
    """One pass over one bundle, rule by rule."""

    def run(self, vectors: Vectors | None = None) -> AnswerReport:
        answer = self.answer
        carried = self._before()
        admit_keys(self.authority, self._placed("keys", answer.keys), self._demand, "keys")
        query = self._one("query", answer.query, Query)
        opening = self._one("opening", answer.opening, Opening)
        release = self._one("release", answer.release, Release)
        approvals = [*carried, *self._placed("approvals", answer.approvals)]
        readys = self._placed("readys", answer.readys)
        receipts = self._placed("receipts", answer.receipts)
        binding = self._binding(opening)
        if query and opening and release and binding:
            self.report.query = query[0].signed.hex_id
            self._query(*query)
            self._approvals(*query, approvals)
            self._opening(*query, *opening, binding)
            self._readys(*query, readys, binding, opening[0].index)
            answered = self._answered(opening[1], release[1], binding)
            self._receipts(*query, receipts, binding, answered, (opening[0].index, release[0].index))
            self._release(*query, *release, binding, answered)
            self._figures(binding, query[1])
            self._mode(query[1], binding)
            self._card(*query, release[0])
            if vectors is not None:
                self._rederive(vectors, opening, receipts, release)
        self.report.size = max(self.roots, default=0)
        self._not_shown()
        return self.report

    # -- the question ------------------------------------------------------------------------------------------------

    def _query(self, placed: Placed, query: Query) -> None:
        self._spoken(placed, Role.BUREAU)
        self._demand(list(query.audience) == sorted(set(query.audience)), "query", "its audience is not sorted, each once")

    def _approvals(self, placed: Placed, query: Query, approvals: list[Placed]) -> None:
        target = query.programme if query.purpose == "surveillance" else placed.signed.hex_id
        found, wanted = False, 1
        for each in approvals:
            match each.signed.statement:
                case ApprovalRule() as rule:
                    self._spoken(each, Role.AUDITOR, "root")
                    wanted = rule.approvers.get(query.purpose, 1)
                case Approval() as approval:
                    self._spoken(each, Role.AUDITOR, "approval")
                    self._demand(self._approvers(each) >= wanted, each.place, f"signed by fewer than {wanted} approvers")
                    comes_first = each.authority is not placed.authority or each.index < placed.index
                    found |= approval.target == target and comes_first == (query.purpose == "surveillance")
                    self._demand(approval.target == target, each.place, "approves something else")
                    self._demand(unix(approval.until) > unix(query.at), each.place, "had ended before the query")
                case Programme() as programme:
                    self._programme(each, programme, query)
                case statement:
                    self._demand(False, each.place, f"expected an approval or its programme, got {statement.kind}")
        if query.purpose == "outbreak":
            self._emergency(placed, query)
            return
        self._demand(found, "approvals", f"no approval for {query.purpose} in its place")
        is_programme_there = any(isinstance(each.signed.statement, Programme) for each in approvals)
        self._demand(query.purpose != "surveillance" or is_programme_there, "approvals", "the programme is missing")

    def _programme(self, placed: Placed, programme: Programme, query: Query) -> None:
        self._spoken(placed, Role.BUREAU)
        same = (placed.signed.hex_id, programme.by, programme.purpose) == (query.programme, query.by, query.purpose)
        self._demand(same and tables_named(query.spec) <= set(programme.tables), placed.place, "is not a programme of this query")
        self._demand(unix(programme.until) > unix(query.at), placed.place, "had ended before the query")
        is_within = Decimal(self.answer.price) <= Decimal(programme.max_price)
        self._demand(is_within, "price", f"the programme allows {programme.max_price} a query")

    def _emergency(self, placed: Placed, query: Query) -> None:
        """Answered without an approval: its asker is one who may break the glass."""
        keys = self._counting(placed, query.by, "identity")
        self._demand(any(each.may_break_glass for each in keys), "query", f"{query.by} may not break the glass")

    def _binding(self, opening: tuple[Placed, Opening] | None) -> Binding | None:
        try:
            return Binding.decode(unb64(opening[1].preimage)) if opening else None
        except MalformedBytes as error:
            self._demand(False, "opening", str(error))
            return None

    def _opening(self, asked: Placed, query: Query, placed: Placed, opening: Opening, binding: Binding) -> None:
        self._spoken(placed, Role.AUDITOR, "service")
        named = (opening.query, opening.attempt, opening.log)
        bound = (binding.query.hex(), binding.attempt, binding.origin)
        self._demand(named == bound and opening.query == asked.signed.hex_id, "opening", "is of another query, attempt or log")
        self._demand(opening.first_round <= binding.round <= opening.last_round, "opening", "is of another round")
        self._demand(asked.index < placed.index, "opening", "stands before its query")
        self._demand(unix(opening.at) < binding.not_after, "opening", "came after the window closed")
        counting = len(binding.counting)
        self._demand((binding.n, binding.c) == (counting, colluders(counting)), "opening", "n or c is not that of the counting set")
        asked_noise = tuple(int(Fraction(each) * VARIANCE_STEPS) for each in query.variances)
        self._demand(binding.variances == asked_noise, "opening", "has other noise than the query asked for")
        self._demand(1 <= binding.attempt <= CONTRACT.attempts, "opening", f"is of attempt {binding.attempt}")
        self._demand(counting >= max(query.floor, CONTRACT.floor), "opening", f"{counting} hospitals are below the floor")

    def _readys(self, asked: Placed, query: Query, readys: list[Placed], binding: Binding, opened: int) -> None:
        found: dict[str, tuple[Placed, Ready]] = {}
        for each in readys:
            ready = each.signed.statement
            if self._demand(isinstance(ready, Ready), each.place, "expected a ready statement") and isinstance(ready, Ready):
                self._demand(ready.by not in found, each.place, f"a second Ready of {ready.by}")
                found[ready.by] = each, ready
        members = {each.uri: each for each in binding.members}
        self._demand(set(found) == set(members), "readys", "are not those of the opened members")
        self._demand(set(members) <= set(query.audience), "opening", "a member is not in the audience")
        for uri in sorted(set(found) & set(members)):
            placed, ready = found[uri]
            self._spoken(placed, Role.HOSPITAL)
            self._demand(asked.index < placed.index < opened, placed.place, "does not stand between query and opening")
            if self._demand(ready.query == asked.signed.hex_id, placed.place, "is for another query"):
                self._charge(uri, query, ready)
            self._demand(ready.first_round <= binding.round <= ready.last_round, placed.place, "does not cover the round")
            same = (placed.signed.id, self._agreement(placed, ready)) == (members[uri].ready, members[uri].agreement)
            self._demand(same, placed.place, "is not the one that was bound, or its agreement key is not certified")
            self._demand(unix(ready.not_after) == binding.not_after, placed.place, "has another window")
            self._demand(ready.charge.purpose == query.purpose, placed.place, "charges another purpose")
            self._demand(self._is_sealing_good(ready), placed.place, "names a sealing key that the auditor did not sign")

    def _charge(self, uri: str, query: Query, ready: Ready) -> None:
        self._demand(ready.charge.price == self.answer.price, "price", f"{ready.charge.price} was charged by {uri}")
        for _, wrong in due.wrongs(query, ready):
            self._demand(False, "price", f"{uri}: {wrong}")

    def _agreement(self, placed: Placed, ready: Ready) -> bytes:
        keys = [k for k in self.authority.keys.values() if k.subject == ready.by and k.since < placed.index]
        for each in keys:
            try:
                return require_certified(ready.agreement, ready.log, ready.by, each.key)
            except BadSignature:
                continue
        return b""

    def _is_sealing_good(self, ready: Ready) -> bool:
        services = [k.key for k in self.authority.keys.values() if k.use == "service"]
        return any(is_sealed_by(key, ready) for key in services)

    def _answered(self, opening: Opening, release: Release, binding: Binding) -> tuple[str, ...]:
        """The opened members; in a training, whose set only shrinks, those of them who stayed to the end."""
        members = tuple(each.uri for each in binding.members)
        if opening.first_round == 0:
            return members
        stayed = tuple(sorted(release.answered))
        self._demand(bool(stayed) and set(stayed) <= set(members), "release", "answered are not of the opened members")
        return stayed

    def _receipts(
        self, asked: Placed, _: Query, receipts: list[Placed], binding: Binding, answered: tuple[str, ...], span: tuple[int, int]
    ) -> None:
        (opened, released), given = span, list[str]()
        for each in receipts:
            receipt = each.signed.statement
            if not isinstance(receipt, Receipt):
                self._demand(False, each.place, f"expected a receipt, got {receipt.kind}")
                continue
            self._spoken(each, Role.HOSPITAL)
            given.append(receipt.by)
            self._demand(opened < each.index < released, each.place, "does not stand between opening and release")
            is_plain = receipt.first_round == 0
            same = receipt.query == asked.signed.hex_id and (receipt.attempt == binding.attempt or not is_plain)
            self._demand(same and receipt.first_round <= binding.round <= receipt.last_round, each.place, "is for another attempt")
            self._demand(not is_plain or receipt.binding == binding.value.hex(), each.place, "is under another binding")
        self._demand(sorted(given) == list(answered), "receipts", "are not one of each member")

    def _release(
        self, asked: Placed, query: Query, placed: Placed, release: Release, binding: Binding, answered: tuple[str, ...]
    ) -> None:
        self._spoken(placed, Role.COORDINATOR)
        ended = (release.query, release.round, release.attempt, release.binding, release.status)
        wanted = (asked.signed.hex_id, binding.round, binding.attempt, binding.value.hex(), "released")
        self._demand(ended == wanted, "release", "is not of the opened query, round, attempt and binding")
        self._demand(release.values == hash_of(self.answer.values), "values", "are not those that were released")
        told = self.answer.coverage
        self._demand(release.answered == told.answered == answered, "coverage.answered", "is not the opened member set")
        for name in ("refused", "away", "left_out"):
            self._demand(getattr(release, name) == getattr(told, name), f"coverage.{name}", "is not that of the release")
        named = [*release.answered, *release.refused, *release.away, *release.left_out]
        self._demand(sorted(named) == list(query.audience), "coverage", "does not name every hospital of the audience once")
        self._demand(set(told.incomplete) <= {*query.audience, release.by}, "coverage.incomplete", "names a stranger")

    # -- figures -----------------------------------------------------------------------------------------------------

    def _figures(self, binding: Binding, query: Query) -> None:
        answer, u, is_union = self.answer, len(binding.members), asks_for_residents(query.spec)
        length = binding.dimension + self._more(query, binding) if binding.round or is_union else binding.dimension
        self._demand(len(answer.values) == length, "values", f"are not {length} numbers")
        honest = max(1, binding.n - binding.c)
        totals = [Fraction(u * math.ceil(Fraction(each, honest)) + each * is_union, 16) for each in binding.variances]
        told = [Fraction(each) for each in answer.total_variances]
        self._demand(told == totals, "total_variances", "do not follow from the opened binding")
        fits = len(answer.half_widths) == len(totals) and all(map(is_half_width, answer.half_widths, totals))
        self._demand(fits, "half_widths", "do not fit the variances")

    def _mode(self, query: Query, binding: Binding) -> None:
        """Exact: all its rules, and nowhere a privacy that it has not. Private: nowhere the silence of exact mode."""
        answer, is_free = self.answer, is_exact(query.spec)
        self.report.mode, self.report.is_sum = EXACT if is_free else PRIVATE, not asks_for_residents(query.spec)
        for no in statement_refusals(query):
            self._demand(False, "query", f"{no.reason}: expected {no.expected}, got {no.got}")
        self._demand((answer.price == FREE) == is_free, "price", "is charged exactly where the answer is private")
        self._demand(not (is_free and answer.spending), "spending", "states an epsilon of an answer that is not private")
        self._demand(not (is_free and any(answer.half_widths)), "half_widths", "state noise in an exact answer")
        if is_free:
            self._demand(binding.counting == query.audience, "opening", "is not of the whole audience, as exact mode demands")
            self._demand(answer.coverage.answered == query.audience, "coverage", "is not the whole audience")

    def _card(self, asked: Placed, query: Query, released: Placed) -> None:
        """A training's card: of this question and these integers, before its release."""
        self._demand(self.answer.card is not None or not is_due(query), "card", "is missing")
        if self.answer.card is None or (found := self._one("card", self.answer.card, ModelCard)) is None:
            return
        placed, card = found
        self._spoken(placed, Role.COORDINATOR)
        self._demand(asked.index < placed.index < released.index, "card", "does not stand between query and release")
        for what in answer_findings(asked.signed, query, card, self.answer):
            self._demand(False, "card", what)
        self.report.card = card_json(card)

    def _more(self, query: Query, binding: Binding) -> int:
        """A training releases its final weights before its last round's vector; a count of residents one number a cell."""
        try:
            asked = Asked.of(query)
        except (ProtocolError, QueryError) as error:
            self._demand(False, "query", str(error))
            return 0
        self._demand(not asked.is_of_residents or is_shaped(asked, binding), "opening", "is not of a vector that counts residents")
        return asked.released_length - (binding.dimension if asked.is_of_residents else asked.dimension)

    def _rederive(
        self, vectors: Vectors, opening: tuple[Placed, Opening], receipts: list[Placed], release: tuple[Placed, Release]
    ) -> None:
        signed = {r.by: (each.index, r) for each in receipts if isinstance(r := each.signed.statement, Receipt)}
        made = Committed((opening[0].index, opening[1]), signed, (release[0].index, release[1]), self.report.is_sum)
        for found in vectors.findings(made):
            self._demand(False, f"entry {found.index}", f"{found.rule}: {found.detail}")
        if vectors.gone:
            self.report.not_shown.append((NotShown.REDERIVED, ""))

    def _not_shown(self) -> None:
        found = self.report.not_shown
        found.append((NotShown.IN_BETWEEN, ""))
        if self.report.mode == EXACT:
            found.append((NotShown.EXACT, ""))
        found += [] if self.report.is_sum else [(NotShown.RESIDENTS, "")]
        found.append((NotShown.UNSIGNED, ""))
        if len(self.roots) > 1:
            found.append((NotShown.ONE_HISTORY, ", ".join(map(str, sorted(self.roots)))))
