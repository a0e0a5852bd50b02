"""A study as a Flower ClientApp: what a node runs in its study's process, and Flower's Simulation Engine at a virtual hospital.

    app = client_app(HeartRisk)

`train` takes the round's weights and gives a gradient a (patient, block), or the factors of each row's where the study gives those;
`evaluate` gives a chance a row; `query` says how many weights the model has. The rows lie in the context's state, where whoever
runs the app has put them: records are no message. What comes back is judged, clipped, rounded and noised by the node's own code,
never by the app.
"""

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity

from hospital_node.errors import StudyFailed
from hospital_node.factors import Layer
from hospital_node.studies.study import Ends, Floats, Study

ROWS, WEIGHTS, FOUND = "rows", "weights", "found"
_SIGNALS = {True: "signals and biases", False: "signals"}


def client_app(study: Callable[[], Study]) -> ClientApp:
    """The study, built once where it runs."""
    app, held = ClientApp(), _Held(study)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        here = held.of(_features(message))
        sizes = MetricRecord({"weights": here.size, "numbers_a_row": here.study.numbers_a_row})
        return Message(RecordDict({FOUND: sizes}), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        rows, study = _arrays(context.state, ROWS), _begun(held, message)
        if study.numbers_a_row:
            return Message(_told(study.factors(rows["features"], rows["outcome"])), reply_to=message)
        found = study.gradients(rows["features"], rows["outcome"], _ends(rows))
        return Message(_record(FOUND, gradients=found), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        rows = _arrays(context.state, ROWS)
        found = _begun(held, message).all_chances(rows["features"], _ends(rows))
        return Message(_record(FOUND, chances=found), reply_to=message)

    return app


class _Prepared:
    def __init__(self, study: Study, features: int) -> None:
        self.study, self.size = study, study.prepare(features)


class _Held:
    """The study with its model built, anew where it is asked for another number of features."""

    def __init__(self, study: Callable[[], Study]) -> None:
        self._study, self._built, self._lock = study, dict[int, _Prepared](), Lock()

    def of(self, features: int) -> _Prepared:
        with self._lock:
            if features not in self._built:
                self._built = {features: _Prepared(self._study(), features)}
            return self._built[features]


def _begun(held: _Held, message: Message) -> Study:
    study = held.of(_features(message)).study
    study.begin(_arrays(message.content, WEIGHTS)["weights"])
    return study


class AppStudy(Study):
    """A ClientApp as the node and a virtual hospital ask it."""

    def __init__(self, app: object) -> None:
        if not isinstance(app, ClientApp):
            raise StudyFailed("its entry point names neither a study nor a ClientApp")
        self._app, self._features, self._weights, self._numbers_a_row = app, 0, np.zeros(0), 0

    def prepare(self, features: int) -> int:
        self._features = features
        sizes = self._ask(MessageType.QUERY, RecordDict()).metric_records[FOUND]
        size, numbers = sizes["weights"], sizes.get("numbers_a_row", 0)
        if not isinstance(size, int) or not isinstance(numbers, int):
            raise StudyFailed("its app does not say how many weights its model has")
        self._numbers_a_row = numbers
        return size

    def begin(self, weights: Floats) -> None:
        self._weights = weights

    def gradient(self, features: Floats, outcome: Floats) -> npt.NDArray[np.floating]:
        found: npt.NDArray[np.floating] = self.gradients(features, outcome, np.array([0, len(features)]))[0]
        return found

    def gradients(self, features: Floats, outcome: Floats, ends: Ends) -> npt.NDArray[np.floating]:
        return self._over(MessageType.TRAIN, "gradients", ends, features=features, outcome=outcome)

    @property
    def numbers_a_row(self) -> int:
        return self._numbers_a_row

    def factors(self, features: Floats, outcome: Floats) -> Sequence[Layer]:
        rows = {"features": features, "outcome": outcome}
        return _heard(self._answered(MessageType.TRAIN, np.arange(len(features) + 1), rows))

    def chances(self, features: Floats) -> npt.NDArray[np.floating]:
        return self.all_chances(features, np.array([0, len(features)]))

    def all_chances(self, features: Floats, ends: Ends) -> npt.NDArray[np.floating]:
        return self._over(MessageType.EVALUATE, "chances", ends, features=features)

    def _over(self, kind: str, wanted: str, ends: Ends, **rows: Floats) -> npt.NDArray[np.floating]:
        found = _arrays(self._answered(kind, ends, rows), FOUND).get(wanted)
        if found is None:
            raise StudyFailed(f"its app gives no {wanted}")
        return found

    def _answered(self, kind: str, ends: Ends, rows: dict[str, Floats]) -> RecordDict:
        first, last = int(ends[0]), int(ends[-1])
        state = _record(ROWS, **{name: each[first:last] for name, each in rows.items()}, ends=ends - first)
        return self._ask(kind, _record(WEIGHTS, weights=self._weights), state)

    def _ask(self, kind: str, content: RecordDict, state: RecordDict | None = None) -> RecordDict:
        content["model"] = ConfigRecord({"features": self._features})
        context = Context(run_id=1, node_id=1, node_config={}, state=state or RecordDict(), run_config={})
        _identify()
        answer = self._app(Message(content, 1, kind), context)
        if answer.has_error():
            raise StudyFailed("its app answers with an error")
        return answer.content


def _identify() -> None:
    """A message states the run of its process; one of its own has none."""
    if getattr(TaskIdentity, "_run_id", None) is None:
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1


def _features(message: Message) -> int:
    return int(str(message.content.config_records["model"]["features"]))


def _ends(rows: dict[str, Floats]) -> Ends:
    return np.asarray(rows["ends"], np.int64)


def _told(layers: Sequence[Layer]) -> RecordDict:
    """A record a layer; a bias is told by the name of its signals."""
    answer = RecordDict()
    for place, each in enumerate(layers):
        answer.update(_record(f"{FOUND}{place}", **{"inputs": each.inputs, _SIGNALS[each.has_bias]: each.signals}))
    return answer


def _heard(answer: RecordDict) -> list[Layer]:
    found = [_arrays(answer, f"{FOUND}{place}") for place in range(len(answer.array_records))]
    has_bias = [_SIGNALS[True] in each for each in found]
    return [Layer(each["inputs"], each[_SIGNALS[bias]], bias) for each, bias in zip(found, has_bias, strict=True)]


def _record(name: str, **arrays: "npt.NDArray[np.generic]") -> RecordDict:
    return RecordDict({name: ArrayRecord({key: Array(np.ascontiguousarray(each)) for key, each in arrays.items()})})


def _arrays(content: RecordDict, name: str) -> dict[str, Floats]:
    return {key: each.numpy() for key, each in content.array_records[name].items()}
