"""When a contribution leaves: a public function of the query, the round, the declared size class, the member set and its arrival.

Nothing of it depends on a record, nor on how long a count took: whoever sees a contribution leave learns what it knew before.

The slot of a question begins when its Ready leaves, if the member set is the one the node hoped for: the whole audience, asked for
the first time (`foreseen`). Count and noise are there at its end, or at the set's arrival if that is later: at that moment masks,
signature and disk begin, however early the count was there. They take as long for any vector of that length, and the contribution
leaves at the next point of the grid behind them. Else, and for trainings and residents always, the slot begins with the member
set's arrival, and a quarter of it is kept for them (decision 0024).

A question whose months this node has ready leaves in a shorter slot, `prepared_slot_ms`. Whether it has them is decided by what it
was asked before, and by when it started and its records were imported (`asked_before`), and not by what is found in memory.

A training's steps read rows that are at hand, in the process that computes gradients, and have a slot of their own
(`training_slot_ms`). Its first round has the slot of a table: it waits for the rows, which are read from the Ready on. So has the
round that tests the model, which asks of every patient held out and not of the few who take part in a step. A round of several
local steps has as many slots.
"""

from dataclasses import dataclass

from hospital_node.config import Config
from protocols.asked import Asked
from protocols.fits import Training

KEPT_SHARE = 4
"""A quarter of a slot that begins with the member set is kept for masks and the disk; the count must be there before."""


def slot_ms(config: Config, asked: Asked, number: int, has_months_ready: bool = False) -> int:
    """How long after the member set of the round of this number its contribution leaves, before the grid."""
    spec = asked.spec
    if has_months_ready:
        return config.slot_of_prepared_ms
    if not isinstance(spec, Training) or number <= asked.first_round:
        return config.slot_of_tables_ms
    if spec.is_evaluated and number == asked.last_round:
        return config.slot_of_tables_ms
    return config.slot_of_steps_ms * spec.steps_a_round


@dataclass(frozen=True, slots=True)
class Departure:
    """Unix milliseconds: until when a count is waited for, and when what is made of it leaves at the earliest."""

    counted_by_ms: float
    leaves_at_ms: int


def departure(arrived_ms: int, slot_ms: int, grid_ms: int, waited_ms: int | None) -> Departure:
    """`waited_ms`: how much of the slot was over when the member set arrived; None where the slot begins with it."""
    if waited_ms is None:
        leaves_at_ms = _on_grid(arrived_ms + slot_ms, grid_ms)
        return Departure(leaves_at_ms - slot_ms / KEPT_SHARE, leaves_at_ms)
    ends_ms = arrived_ms + max(0, slot_ms - waited_ms)
    return Departure(ends_ms, _on_grid(ends_ms, grid_ms))


def _on_grid(moment_ms: int, grid_ms: int) -> int:
    return -(-moment_ms // grid_ms) * grid_ms
