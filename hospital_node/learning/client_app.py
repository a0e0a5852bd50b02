"""A study as a Flower ClientApp: what a node runs in its study's process, and Flower's Simulation Engine at a virtual hospital.

    app = client_app(HeartRisk)

`train` takes the round's weights and gives a gradient a (patient, block); `evaluate` gives a chance a row; `query` says how many
weights the model has. The rows lie in the context's state, where whoever runs the app has put them: records are no message. What
comes back is judged, clipped, rounded and noised by the node's own code, never by the app.
"""

from collections.abc import Callable
from threading import Lock

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity

from hospital_node.errors import StudyFailed
from hospital_node.studies.study import Ends, Floats, Study

ROWS, WEIGHTS, FOUND = "rows", "weights", "found"


def client_app(study: Callable[[], Study]) -> ClientApp:
    """The study, built once where it runs."""
    app, held = ClientApp(), _Held(study)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        size = held.of(_features(message)).size
        return Message(RecordDict({FOUND: MetricRecord({"weights": size})}), reply_to=message)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        rows = _arrays(context.state, ROWS)
        found = _begun(held, message).gradients(rows["features"], rows["outcome"], _ends(rows))
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
        self._app, self._features, self._weights = app, 0, np.zeros(0)

    def prepare(self, features: int) -> int:
        self._features = features
        size = self._ask(MessageType.QUERY, RecordDict()).metric_records[FOUND]["weights"]
        if not isinstance(size, int):
            raise StudyFailed("its app does not say how many weights its model has")
        return size

    def begin(self, weights: Floats) -> None:
        self._weights = weights

    def gradient(self, features: Floats, outcome: Floats) -> npt.NDArray[np.floating]:
        found: npt.NDArray[np.floating] = self.gradients(features, outcome, np.array([0, len(features)]))[0]
        return found

    def gradients(self, features: Floats, outcome: Floats, ends: Ends) -> npt.NDArray[np.floating]:
        return self._over(MessageType.TRAIN, "gradients", ends, features=features, outcome=outcome)

    def chances(self, features: Floats) -> npt.NDArray[np.floating]:
        return self.all_chances(features, np.array([0, len(features)]))

    def all_chances(self, features: Floats, ends: Ends) -> npt.NDArray[np.floating]:
        return self._over(MessageType.EVALUATE, "chances", ends, features=features)

    def _over(self, kind: str, wanted: str, ends: Ends, **rows: Floats) -> npt.NDArray[np.floating]:
        first, last = int(ends[0]), int(ends[-1])
        state = _record(ROWS, **{name: each[first:last] for name, each in rows.items()}, ends=ends - first)
        answer = self._ask(kind, _record(WEIGHTS, weights=self._weights), state)
        found = _arrays(answer, FOUND).get(wanted)
        if found is None:
            raise StudyFailed(f"its app gives no {wanted}")
        return found

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


def _record(name: str, **arrays: "npt.NDArray[np.generic]") -> RecordDict:
    return RecordDict({name: ArrayRecord({key: Array(np.ascontiguousarray(each)) for key, each in arrays.items()})})


def _arrays(content: RecordDict, name: str) -> dict[str, Floats]:
    return {key: each.numpy() for key, each in content.array_records[name].items()}
