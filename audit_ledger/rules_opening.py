"""What an opening, its receipts and the release must keep: one member set per query and round, of logged Readys, one binding."""

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from audit_ledger import exact, model_card
from audit_ledger.facts import LedgerFacts, QuestionFacts
from audit_ledger.findings import Finding, Rule
from protocols.asked import VARIANCE_STEPS
from protocols.canonical import unb64
from protocols.clock import unix
from protocols.contract import CONTRACT, colluders
from protocols.errors import MalformedBytes
from protocols.secagg.binding import Binding
from protocols.statements import Opening, Receipt, Release


def opening_findings(ledger: LedgerFacts, index: int, opening: Opening) -> Iterator[Finding]:
    facts = ledger.questions.get(opening.query)
    if facts is None:
        yield Finding(index, Rule.TARGET_UNKNOWN, "names a logged query")
        return
    try:
        binding = bound(opening.preimage)[0]
    except MalformedBytes as error:
        yield Finding(index, Rule.BINDING, str(error))
        return
    rounds = range(opening.first_round, opening.last_round + 1)
    if any(each in facts.openings for each in rounds):
        yield Finding(index, Rule.OPENED_TWICE, "one member set per query and round, ever")
    if facts.release is not None:
        yield Finding(index, Rule.OPENED_TWICE, f"ended at entry {facts.release[0]}")
    yield from _bound(ledger, index, facts, opening, binding)
    for member in binding.members:
        ready = facts.readys.get(member.uri)
        if ready is None or (ready.id, ready.agreement) != (member.ready, member.agreement):
            yield Finding(index, Rule.MEMBER, f"{member.uri}: its Ready stands in the ledger before the opening")
    if len(binding.counting) < facts.query.floor:
        yield Finding(index, Rule.MEMBER, f"floor {facts.query.floor}, counting {len(binding.counting)}")
    if unix(opening.at) >= binding.not_after:
        yield Finding(index, Rule.WINDOW, "opened after the window closed")
    if facts.query.purpose == "outbreak":
        for each in ledger.refusals_of_emergency(opening.query, facts.query.by, unix(opening.at)):
            yield Finding(index, Rule.OUTBREAK, f"{each.reason}: expected {each.expected}, got {each.got}")
    yield from exact.opening_findings(ledger, index, facts, opening, binding)
    if ledger.is_held:
        yield Finding(index, Rule.HELD, "opened while the auditor held the opener")


def _bound(ledger: LedgerFacts, index: int, facts: QuestionFacts, opening: Opening, binding: Binding) -> Iterator[Finding]:
    named = (opening.query, opening.attempt, opening.log, opening.first_round)
    if (binding.query.hex(), binding.attempt, binding.origin, binding.round) != named:
        yield Finding(index, Rule.BINDING, "the preimage is for another query, attempt, round or log")
    covered = {(ready.statement.first_round, ready.statement.last_round) for ready in facts.readys.values()}
    if (opening.first_round, opening.last_round) not in covered:
        yield Finding(index, Rule.BINDING, "rounds that no Ready of this query covers")
    counting = len(binding.counting)
    if (binding.n, binding.c) != (counting, colluders(counting)) or not 1 <= binding.attempt <= CONTRACT.attempts:
        yield Finding(index, Rule.BINDING, "n, c and attempt are not what the counting set and the contract give")
    if binding.variances != tuple(int(Fraction(each) * VARIANCE_STEPS) for each in facts.query.variances):
        yield Finding(index, Rule.BINDING, "other noise than the query asked for")
    if not ledger.knows(opening.seen):
        yield Finding(index, Rule.FORKED, f"size {opening.seen.size} with another root")


@lru_cache(1024)
def bound(preimage: str) -> tuple[Binding, str]:
    """The binding in an opening, and u in hex, which every receipt is compared with. Raises MalformedBytes."""
    raw = unb64(preimage)
    return Binding.decode(raw), hashlib.sha256(raw).hexdigest()  # as `Binding.value`: what is decoded has one encoding


def receipt_findings(ledger: LedgerFacts, index: int, receipt: Receipt) -> Iterator[Finding]:
    facts = ledger.questions.get(receipt.query)
    opened = facts.openings.get(receipt.first_round) if facts else None
    if facts is None or opened is None:
        yield Finding(index, Rule.TARGET_UNKNOWN, "a receipt follows the opening of its round")
        return
    binding = opened[1]
    is_plain = receipt.first_round == receipt.last_round
    if binding.member(receipt.by) is None or (is_plain and receipt.binding != bound(opened[2].preimage)[1]):
        yield Finding(index, Rule.RECEIPT, "a member's, under the opened binding")
    if (receipt.by, receipt.first_round) in facts.receipts:
        yield Finding(index, Rule.RECEIPT_TWICE, receipt.by)


def release_findings(ledger: LedgerFacts, index: int, release: Release) -> Iterator[Finding]:
    facts = ledger.questions.get(release.query)
    if facts is None:
        yield Finding(index, Rule.TARGET_UNKNOWN, "names a logged query")
        return
    if facts.release is not None:
        yield Finding(index, Rule.RELEASE_TWICE, f"ended at entry {facts.release[0]}")
    yield from exact.release_findings(index, facts, release)
    yield from model_card.release_findings(index, facts, release)
    if release.status != "released":
        return
    opened = facts.openings.get(release.round)
    if opened is None or release.binding != bound(opened[2].preimage)[1] or release.values is None:
        yield Finding(index, Rule.RELEASE, "released under the opened binding")
        return
    # Inside a training's segment the member set only shrinks: who vanished has no receipt, and is not among `answered`.
    opened_members = [member.uri for member in opened[1].members]
    wanted = list(release.answered) if opened[2].first_round else opened_members
    if not set(wanted) <= set(opened_members) or list(release.answered) != wanted:
        yield Finding(index, Rule.RELEASE, "answered are the opened members, or in a training those of them who stayed")
    for uri in wanted:
        if not any(uri == each for each, _ in facts.receipts):
            yield Finding(index, Rule.RECEIPT_MISSING, uri)
