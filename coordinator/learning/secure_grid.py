"""Flower's `Grid` over secure sums: an averaging Strategy runs through it unmodified. The one file that imports Flower's inside.

A Strategy sends one message a hospital and averages the replies. Here all replies of a round are the same: the mean over everybody
who took part, as it came out of the secure sum, with an equal share of their number as its weight; so that the Strategy's average
of them is that mean again. Nobody, the Strategy included, has a single hospital's update. One that compares updates (Krum, a
median, a trimmed mean, q-fairness) would find them all alike and do nothing that its name says: `require_averaging` refuses it.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedProx, FedYogi, Strategy
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from coordinator.errors import NeedsSingleUpdates, UnsuitableMessages

Floats = npt.NDArray[np.float64]
SecureRound = Callable[[Floats], tuple[Floats, float]]
"""From the weights that all hospitals are sent, flat, to the mean of what they make of them and how many examples stand behind
it.
"""
AVERAGING: dict[str, type[FedAvg]] = {each.__name__: each for each in (FedAvg, FedProx, FedAvgM, FedAdam, FedYogi, FedAdagrad)}
EXAMPLES = "num-examples"


def require_averaging(strategy: Strategy) -> None:
    """A subclass of one's own is welcome as long as it averages as these do. Raises NeedsSingleUpdates with the reason."""
    kinds = tuple(AVERAGING.values())
    averages = {kind.aggregate_train for kind in kinds}
    if not isinstance(strategy, kinds) or type(strategy).aggregate_train not in averages:
        raise NeedsSingleUpdates(
            f"{type(strategy).__name__}: expected one of {', '.join(AVERAGING)}; it looks at single hospitals' updates, "
            "and in a secure sum there are none"
        )


class SecureGrid(Grid):
    """`members` get the node ids 1, 2, … in their order; `secure_round` is asked once for all messages of a training round."""

    def __init__(self, members: Sequence[str], secure_round: SecureRound) -> None:
        # Flower's run identity is of the process, which is why a training has one of its own. A simulation has set it.
        if getattr(TaskIdentity, "_run_id", None) is None:
            TaskIdentity.run_id = TaskIdentity.task_id = 1
            TaskIdentity.node_id = 0
        self.members, self._secure_round = tuple(members), secure_round
        self._run: Run | None = None
        self._waiting: dict[str, Message] = {}

    def train(self, strategy: Strategy, start: ArrayRecord, rounds: int) -> ArrayRecord:
        """`strategy.start` over this grid. Raises NeedsSingleUpdates before anything is asked."""
        require_averaging(strategy)
        result = strategy.start(grid=self, initial_arrays=start, num_rounds=rounds)
        return result.arrays

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        if self._run is None:
            raise UnsuitableMessages("grid: no run was set")
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> Iterable[int]:
        return list(range(1, len(self.members) + 1))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pushed = {f"{len(self._waiting) + place}": each for place, each in enumerate(messages)}
        self._waiting |= pushed
        return list(pushed)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self.send_and_receive([self._waiting.pop(each) for each in message_ids])

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """One secure round for all of them.

        Evaluation has no answer here: what a hospital's records say of a model costs as well.
        """
        asked = list(messages)
        if not asked or asked[0].metadata.message_type == MessageType.EVALUATE:
            return []
        arrays = self._common(asked)
        mean, examples = self._secure_round(flat(arrays))
        share = examples / len(asked)
        return [Message(_reply(arrays, mean, share), reply_to=each) for each in asked]

    def _common(self, asked: Sequence[Message]) -> ArrayRecord:
        """What all are sent. A sum is over hospitals that start from the same weights. Raises UnsuitableMessages."""
        if {each.metadata.dst_node_id for each in asked} != set(self.get_node_ids()):
            raise UnsuitableMessages(f"grid: expected one message for each of {len(self.members)} hospitals")
        records = [next(iter(each.content.array_records.values())) for each in asked]
        first = flat(records[0])
        if any(not np.array_equal(first, flat(each)) for each in records[1:] if each is not records[0]):
            raise UnsuitableMessages("grid: expected the same weights for all hospitals")
        return records[0]


def flat(arrays: ArrayRecord) -> Floats:
    return np.concatenate([each.numpy().astype(np.float64).ravel() for each in arrays.values()])


def shaped(like: ArrayRecord, values: Floats) -> ArrayRecord:
    """Raises UnsuitableMessages for another number of weights, or ones that are not finite."""
    shapes = {name: each.numpy().shape for name, each in like.items()}
    if len(values) != sum(int(np.prod(shape)) for shape in shapes.values()) or not np.isfinite(values).all():
        raise UnsuitableMessages("grid: expected as many finite weights as were sent")
    made, start = ArrayRecord(), 0
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        made[name] = Array(values[start : start + size].reshape(shape))
        start += size
    return made


def _reply(arrays: ArrayRecord, mean: Floats, examples: float) -> RecordDict:
    return RecordDict({"arrays": shaped(arrays, mean), "metrics": MetricRecord({EXAMPLES: examples})})
