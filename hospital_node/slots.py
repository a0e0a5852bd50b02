"""When a contribution leaves: a public function of the query, the round, the declared size class, the member set and its arrival.

Nothing of it depends on a record, nor on how long a count took: whoever sees a contribution leave learns what it knew before.

The slot of a question begins when its Ready leaves, if the member set is the one the node hoped for: the whole audience, and the
first set behind that Ready (`foreseen`); else, and for trainings and residents always, with the member set's arrival. At its end,
or at the set's arrival if that is later, count and noise are there: at that moment they are added to the masks, signed and written,
however early the count was there. That takes as long for any vector of that length, and the contribution leaves at the next point
of the grid behind it. Only residents' vectors take longer the fuller they are: a quarter of their slot is kept for that (decision
0024).

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
"""A quarter of the slot of a question for residents is kept for filling, masks and disk; the count must be there before."""


def slot_ms(config: Config, asked: Asked, number: int, has_months_ready: bool = False) -> int:
    """How long the slot of the round of this number is."""
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


def departure(arrived_ms: int, slot_ms: int, grid_ms: int, waited_ms: int = 0, kept_ms: float = 0.0) -> Departure:
    """`waited_ms`: how much of the slot was over when the member set arrived; `kept_ms`: how much of it is not the count's."""
    ends_ms = arrived_ms + max(0, slot_ms - waited_ms)
    return Departure(ends_ms - kept_ms, -(-ends_ms // grid_ms) * grid_ms)
