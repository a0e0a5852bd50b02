"""No number before its proof: the bundle is verified against the pinned trust file, then against what was asked.

The ledger's verifier checks signatures, proofs, order and the hash of the values. Here, what it cannot know because it does not
compute privacy: that this is the answer to the question asked, in its shape, that the stated noise is what the opened member set
draws, and that the intervals are those of that noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from audit_ledger.errors import Unavailable
from audit_ledger.policy import TrustFile
from coordinator.client.errors import Unreachable, Unverified
from coordinator.client.table import AnswerTable
from privacy.errors import PrivacyError
from privacy.intervals import half_width
from privacy.rdp import share_variance
from protocols.answer import Answer as Bundle
from protocols.asked import Asked
from protocols.canonical import unb64
from protocols.errors import MalformedBytes
from protocols.query import QueryError, QuerySpec
from protocols.secagg.binding import Binding
from protocols.statements import Opening, Query, Reasoned, parse

Verifier = Callable[[Bundle, TrustFile, int], Sequence[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """A bundle that passed, with its question and its cells."""

    id: str
    raw: bytes
    bundle: Bundle
    query: Query
    spec: QuerySpec
    cells: AnswerTable


def verified(raw: bytes, asked: str | None, trust: TrustFile, now: int, verify: Verifier) -> Verified:
    """Raises Unverified with every finding, Unreachable where the check could not be made. `asked` is the id expected."""
    try:
        bundle = Bundle.model_validate_json(raw)
        found = [_found(each) for each in verify(bundle, trust, now)]
        return _own_checks(raw, bundle, asked, found)
    except Unavailable as error:
        raise Unreachable("error.unchecked", why=str(error)) from None
    except (ValidationError, MalformedBytes, QueryError, PrivacyError) as error:
        raise Unverified("error.unverified", reasons=[_reason("answer.malformed", type(error).__name__)]) from None


def _own_checks(raw: bytes, bundle: Bundle, asked: str | None, found: list[Reasoned]) -> Verified:
    signed = parse(bundle.query.entry.encode())
    if not isinstance(signed.statement, Query):
        raise MalformedBytes("the bundle's query entry is no query")
    question = Asked.of(signed.statement)
    found += _differences(bundle, signed.hex_id, asked, question)
    if found:
        raise Unverified("error.unverified", reasons=found)
    if not isinstance(question.spec, QuerySpec):
        raise MalformedBytes("the answer is not a table")
    variances = [Fraction(each) for each in bundle.total_variances]
    cells = AnswerTable.of(question.spec, bundle.values, variances)
    return Verified(signed.hex_id, raw, bundle, signed.statement, question.spec, cells)


def _differences(bundle: Bundle, id_: str, asked: str | None, question: Asked) -> Iterator[Reasoned]:
    if asked is not None and id_ != asked:
        yield _reason("answer.another_question", asked, id_)
    if len(bundle.values) != question.dimension:
        yield _reason("answer.shape", str(question.dimension), str(len(bundle.values)))
    opening = parse(bundle.opening.entry.encode()).statement
    if not isinstance(opening, Opening):
        raise MalformedBytes("the bundle's opening entry is no opening")
    drawn = _drawn(Binding.decode(unb64(opening.preimage)), question)
    stated = [Fraction(each) for each in bundle.total_variances]
    if stated != drawn:
        yield _reason("answer.noise", ", ".join(map(str, drawn)), ", ".join(map(str, stated)))
    elif list(bundle.half_widths) != [half_width(each) for each in drawn]:
        yield _reason("answer.half_width", ", ".join(str(half_width(each)) for each in drawn), str(list(bundle.half_widths)))


def _drawn(binding: Binding, question: Asked) -> list[Fraction]:
    """Every member of U draws a share that is sized for K (rule 3 of the protocol)."""
    return [len(binding.members) * share_variance(piece.variance, binding.n, binding.c) for piece in question.pieces]


def _found(finding: Any) -> Reasoned:
    """A finding of the ledger's verifier, whichever words it has."""
    return _reason(str(getattr(finding, "rule", None) or getattr(finding, "code", "answer.finding")), str(finding))


def _reason(code: str, expected: str, got: str = "") -> Reasoned:
    return Reasoned(code=code, expected=expected, got=got, subject="")
