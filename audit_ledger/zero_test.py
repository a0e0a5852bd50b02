"""The auditor's part of counting residents: what it demands of a request, and the blinded cells that leave in place of a sum.

Rules
1. A question for residents opens by a zero test and in no other way; no other question does.
2. Ring and length are those that the signed question and the member set give: cells would be cut elsewhere otherwise.
3. The auditor's noise has the question's whole variance, one fresh draw a cell: nobody else can take it away, and nobody has to
   trust a hospital for it.
4. One zero test a question: the opener keeps its reply as it keeps a sum, and any other request is refused for ever.

The one module of this package that imports `privacy`: noise comes from the product's one sampler (decision 0018).
"""

from collections.abc import Callable, Iterator, Sequence

from audit_ledger.facts import QuestionFacts
from privacy.sampler import draw
from privacy.tables import skellam_table
from privacy.union import auditor_tail, hospital_tail
from protocols.asked import Asked
from protocols.errors import ProtocolError
from protocols.query import QueryError
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.secagg.masks import seed_stream_sum
from protocols.union import Shape, asks_for_residents, blinded
from protocols.union.buckets import RING
from protocols.union.question import MAX_ENTRIES
from protocols.union.zero_test import ENTRY_BYTES, POINT_BYTES

MOST_BYTES = MAX_ENTRIES * ENTRY_BYTES
Random = Callable[[int], bytes]


def request_refusals(public: bytes, encrypted: bytes, binding: Binding, facts: QuestionFacts) -> Iterator[Refusal]:
    """Rules 1 and 2."""
    if not asks_for_residents(facts.query.spec):
        if public or encrypted:
            yield Refusal(Reason.ZERO_TEST_INVALID, "a zero test of residents alone", "another question")
        return
    try:
        shape = shape_of(Asked.of(facts.query), binding)
    except (ProtocolError, QueryError, ValueError) as error:
        yield Refusal(Reason.MALFORMED, "a question for residents of this version", type(error).__name__)
        return
    if (binding.ring, binding.dimension) != (RING, shape.dimension) or shape.dimension > MAX_ENTRIES:
        expected = f"{RING} bits, {shape.dimension} entries, at most {MAX_ENTRIES}"
        yield Refusal(Reason.BINDING_DIFFERS, expected, f"{binding.ring} bits, {binding.dimension} entries", "dimension")
    elif (len(public), len(encrypted)) != (POINT_BYTES, ENTRY_BYTES * shape.dimension):
        yield Refusal(Reason.ZERO_TEST_INVALID, f"a public key and {shape.dimension} ciphertexts", "another length")


def shape_of(asked: Asked, binding: Binding) -> Shape:
    """Raises PrivacyError, a ValueError, where the sets leave nobody to share the noise."""
    [piece] = asked.pieces
    return asked.shape(len(binding.members), hospital_tail(piece.variance, binding.n, binding.c))


def blinded_cells(
    public: bytes, encrypted: bytes, binding: Binding, facts: QuestionFacts, seeds: Sequence[bytes], random: Random
) -> bytes:
    """All cells in a row, each of the same length. Rules 1 and 2 hold already. Raises BadCiphertext."""
    asked = Asked.of(facts.query)
    [piece] = asked.pieces
    stream_sum = seed_stream_sum(seeds, binding.dimension, binding.ring, binding.value)
    noise = draw(skellam_table(piece.variance), piece.length, random)
    return b"".join(blinded(public, encrypted, stream_sum, noise, auditor_tail(piece.variance), random))
