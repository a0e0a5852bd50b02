"""No number before its proof: the bundle is verified against the pinned trust file, then against what was asked.

The ledger's verifier checks signatures, proofs, order and the hash of the values. Here, what it cannot know because it does not
compute privacy: that this is the answer to the question asked, in its shape; that the stated noise is what the opened member set
draws for it; that the intervals are those of that noise; and that the price and every stated epsilon are not below our own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from pydantic import ValidationError

from audit_ledger.bundle import AnswerReport
from audit_ledger.errors import Malformed, Unavailable
from audit_ledger.policy import TrustFile
from coordinator.client.errors import Unreachable, Unverified
from coordinator.client.forecast import stated
from coordinator.client.table import AnswerTable
from privacy.errors import PrivacyError
from privacy.filter import encode_charge
from privacy.intervals import half_width
from privacy.pricing import NOTHING, price
from privacy.union import released_variance
from protocols.answer import Answer as Bundle
from protocols.asked import Asked
from protocols.canonical import unb64
from protocols.contract import CONTRACT
from protocols.errors import MalformedBytes
from protocols.exact import is_exact
from protocols.query import QueryError, QuerySpec
from protocols.secagg.binding import Binding
from protocols.statements import Opening, Query, Reasoned, parse

_TOLERANCE = 1 - 1e-6
"""Epsilons stand in the bundle with nine digits."""


Verifier = Callable[[bytes, TrustFile, int], AnswerReport]


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """A bundle that passed, with its question and its cells."""

    id: str
    raw: bytes
    bundle: Bundle
    query: Query
    spec: QuerySpec
    cells: AnswerTable
    reasons: tuple[Reasoned, ...] = ()
    """Why hospitals are absent, told beside the bundle; see `coverage`."""

    @property
    def is_exact(self) -> bool:
        """Whether the answer is not private: no noise, no epsilon."""
        return is_exact(self.query.spec)


def verified(raw: bytes, asked: str, trust: TrustFile, now: int, verify: Verifier) -> Verified:
    """Raises Unverified with every finding, Unreachable where the check could not be made. `asked` is the id expected."""
    try:
        problems = [_reason("answer.evidence", each.what, each.place) for each in verify(raw, trust, now).problems]
        # Signatures first: nothing of a bundle that is not proved is read any further.
        return _accepted(raw, asked) if not problems else _refuse(problems)
    except Unavailable as error:
        raise Unreachable("error.unchecked", why=str(error)) from None
    except (Malformed, ValidationError, MalformedBytes, QueryError, PrivacyError) as error:
        return _refuse([_reason("answer.malformed", type(error).__name__)])


def _refuse(problems: list[Reasoned]) -> Verified:
    raise Unverified("error.unverified", reasons=problems) from None


def _accepted(raw: bytes, asked: str) -> Verified:
    bundle = Bundle.model_validate_json(raw)
    signed, opening = parse(bundle.query.entry.encode()), parse(bundle.opening.entry.encode()).statement
    if not isinstance(signed.statement, Query) or not isinstance(opening, Opening):
        raise MalformedBytes("the bundle's query or opening is of another kind")
    question, binding = Asked.of(signed.statement), Binding.decode(unb64(opening.preimage))
    if not isinstance(question.spec, QuerySpec):
        raise MalformedBytes("the answer is not a table")
    problems = [
        *_shape(bundle, signed.hex_id, asked, question),
        *_noise(bundle, binding, question),
        *_cost(bundle, binding, question),
    ]
    if problems:
        _refuse(problems)
    cells = AnswerTable.of(question.spec, bundle.values, [Fraction(each) for each in bundle.total_variances])
    return Verified(signed.hex_id, raw, bundle, signed.statement, question.spec, cells)


def _shape(bundle: Bundle, id_: str, asked: str, question: Asked) -> Iterator[Reasoned]:
    if id_ != asked:
        yield _reason("answer.another_question", asked, id_)
    if len(bundle.values) != question.dimension:
        yield _reason("answer.shape", str(question.dimension), str(len(bundle.values)))


def _noise(bundle: Bundle, binding: Binding, question: Asked) -> Iterator[Reasoned]:
    # Every member of U draws a share that is sized for K (rule 3 of the protocol).
    drawn = [released_variance(piece, len(binding.members), binding.n, binding.c) for piece in question.pieces]
    stated_variances = [Fraction(each) for each in bundle.total_variances]
    if stated_variances != drawn:
        yield _reason("answer.noise", ", ".join(map(str, drawn)), ", ".join(map(str, stated_variances)))
    halves = [half_width(each) for each in drawn]
    if list(bundle.half_widths) != halves:
        yield _reason("answer.half_width", str(halves), str(list(bundle.half_widths)))


def _cost(bundle: Bundle, binding: Binding, question: Asked) -> Iterator[Reasoned]:
    due = encode_charge((NOTHING if question.is_exact else price(CONTRACT.order, question.pieces)).one)
    if bundle.price != due:
        yield _reason("answer.price", due, bundle.price)
    if question.is_exact:
        return  # the ledger's verifier has seen to it that no epsilon is stated
    told = [(each.who, float(each.epsilon), float(each.delta)) for each in bundle.spending]
    ours = stated(question.pieces, binding.n, binding.c, len(binding.members), len(question.blocks))
    for each in ours:
        epsilon, delta = float(each.epsilon), float(each.delta + each.sampler_delta)
        if not any(
            who == each.case.value and e >= epsilon * _TOLERANCE and delta * _TOLERANCE <= d <= 2 * delta for who, e, d in told
        ):
            yield _reason("answer.spending", f"{each.case.value}: {epsilon:.6f} at {delta:.3g}", "less, or not stated")


def _reason(code: str, expected: str, got: str = "") -> Reasoned:
    return Reasoned(code=code, expected=expected, got=got, subject="")
