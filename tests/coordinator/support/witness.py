"""The test city's witness, asked without a wire."""

from collections.abc import Callable, Sequence

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.note import Note
from audit_ledger.witness import AddCheckpoint
from tests.support.city import ORIGIN, City


class CityWitness:
    """The city's own witness, without a wire; away while `problem` is set."""

    def __init__(self, city: City) -> None:
        self.city = city
        self.problem: Exception | None = None
        self.asked = 0

    def cosign(self, checkpoint: bytes, consistency: Callable[[int, int], Sequence[bytes]]) -> bytes:
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        latest = self.city.witness.latest(ORIGIN)
        old, new = latest.size if latest else 0, Checkpoint.parse(Note.parse(checkpoint).text).size
        answer = self.city.witness.add_checkpoint(AddCheckpoint(old, tuple(consistency(old, new)), checkpoint).encode())
        assert answer.status == 200, answer.body
        return answer.body
