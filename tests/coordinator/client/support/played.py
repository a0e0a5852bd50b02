"""A question of the client, lived through by the city of `tests.support`: real statements, log, witness, opener and bundle.

The hospitals' vectors are known and carry no noise, so that a test knows every released integer: cell i is the sum over hospitals
j = 0, 1, ... of i + j.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from audit_ledger.opener_core import OpenerCore
from coordinator.client.forecast import stated
from privacy.intervals import half_width
from privacy.rdp import share_variance
from protocols import statements as st
from protocols.answer import Answer, Coverage, Proven, Spending
from protocols.asked import Asked, variance_text
from protocols.contract import CONTRACT
from protocols.secagg.binding import Binding
from tests.support.charged import honest
from tests.support.city import City, Question


@dataclass
class Played(Question):
    """`entry` is the client's own signed query, given; `refusing` hospitals say no to it."""

    refusing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        query = st.parse(self.entry).statement
        assert isinstance(query, st.Query)
        self.asked = Asked.of(query)
        self.purpose, self.blocks = query.purpose, self.asked.blocks
        self.receipts: list[bytes] = []
        self.city.log_entry(self.entry)
        self.not_after = self.city.now + CONTRACT.window_s

    def binding(self, members: Iterable[str] = (), **changes: Any) -> Binding:
        shape = {"dimension": self.asked.dimension, "variances": self.asked.variances, "ring": 64}
        return super().binding(members, **shape, **changes)

    def release(self, binding: Binding, values: Any, **changes: Any) -> bytes:
        away = tuple(sorted(set(self.query.audience) - set(self.readys) - set(self.refusing)))
        self.released = super().release(binding, values, refused=self.refusing, away=away, **changes)
        return self.released

    def bundle(self) -> Answer:
        """Lives the whole life and composes the answer."""
        if self.asked.query.programme is None:
            self.city.approve(self.id.hex())
        self.all_ready(sorted(set(self.asked.query.audience) - set(self.refusing)))
        request = self.request()
        values = self.finish(request, self.open(request))
        binding = Binding.decode(request.preimage)
        totals = [len(binding.members) * share_variance(piece.variance, binding.n, binding.c) for piece in self.asked.pieces]
        is_free = self.asked.is_exact
        cost = () if is_free else stated(self.asked.pieces, binding.n, binding.c, len(binding.members), len(self.blocks))
        return Answer(
            query=self._proven(self.entry),
            keys=tuple(self._of_kind(st.Root, st.KeyAdd)),
            approvals=tuple(self._approvals()),
            readys=tuple(self._proven(each) for each in self.readys.values()),
            opening=next(self._of_question(st.Opening)),
            receipts=tuple(self._of_question(st.Receipt)),
            release=self._proven(self.released),
            values=tuple(map(int, values)),
            total_variances=tuple(map(variance_text, totals)),
            half_widths=tuple(map(half_width, totals)),
            price=honest(self.asked).price,
            spending=tuple(
                Spending(
                    who=each.case.value, epsilon=f"{float(each.epsilon):.9g}", delta=f"{float(each.delta + each.sampler_delta):.9g}"
                )
                for each in cost
            ),
            coverage=Coverage(
                answered=tuple(sorted(self.readys)),
                refused=self.refusing,
                away=tuple(sorted(set(self.query.audience) - set(self.readys) - set(self.refusing))),
                left_out=(),
                incomplete=(),
            ),
        )

    def _approvals(self) -> Iterable[Proven]:
        """The programme with its approval; of a question under none, its own approval."""
        wanted = {self.asked.query.programme or self.id.hex()}
        for each in self._of_kind(st.Programme, st.Approval):
            signed = st.parse(each.entry.encode())
            if getattr(signed.statement, "target", signed.hex_id) in wanted:
                yield each

    def _of_question(self, kind: type[st.Statement]) -> Iterable[Proven]:
        return (each for each in self._of_kind(kind) if _query_of(each) == self.id.hex())

    def _of_kind(self, *kinds: type[st.Statement]) -> Iterable[Proven]:
        entries = self.city.log.entries(0, self.city.log.size)
        return (self._proven(each) for each in entries if isinstance(st.parse(each).statement, kinds))

    def _proven(self, entry: bytes) -> Proven:
        return Proven(entry=entry.decode(), proof=self.city.prove(entry).decode())


def _query_of(proven: Proven) -> str:
    return str(getattr(st.parse(proven.entry.encode()).statement, "query", ""))


def played(city: City, opener: OpenerCore, entry: bytes, refusing: tuple[str, ...] = ()) -> Answer:
    """The verified answer that this city gives to a signed query."""
    return Played(city, opener, entry=entry, refusing=refusing).bundle()
