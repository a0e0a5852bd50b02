"""When a contribution leaves: a public function of the query, the round, the declared size class and the member set's arrival.

Nothing of it depends on a record, nor on how long a count took: whoever sees a contribution leave learns what it knew before.

A question whose months this node has ready leaves in a shorter slot, `prepared_slot_ms`. Whether it has them is decided by what it
was asked before, and by when it started and its records were imported (`asked_before`), and not by what is found in memory.

A training's steps read rows that are at hand, in the process that computes gradients, and have a slot of their own
(`training_slot_ms`). Its first round has the slot of a table: it waits for the rows, which are read from the Ready on. So has the
round that tests the model, which asks of every patient held out and not of the few who take part in a step. A round of several
local steps has as many slots.
"""

from hospital_node.config import Config
from protocols.asked import Asked
from protocols.fits import Training


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


def leaves_at_ms(arrived_ms: int, slot_ms: int, grid_ms: int) -> int:
    """The first point of the grid at or after arrival plus slot."""
    return -(-(arrived_ms + slot_ms) // grid_ms) * grid_ms
