"""The same training through Flower's own deployment runtime: `flower-superlink`, a `flower-supernode` a hospital, `flwr run`.

Real processes on loopback, as Flower's guide starts them: `--insecure` (no TLS, which ours has), apps in subprocesses that Flower's
SuperExec starts. A ClientApp makes one hospital's clipped gradients of the model of `wide_study`, FedAvg averages them; there are
no masks, no noise, no ledger and no disk. What a round takes is told by the ServerApp itself, from one aggregate to the next.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import numpy as np

from hospital_node.fits.bounded import Bound, Floats, summed
from simulations.bench.wide_study import FEATURES, WEIGHTS, Wide
from simulations.ports import free_ports
from simulations.processes import program

PATIENCE_S = 900.0
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
PYPROJECT = """
[project]
name = "kapok-bench"
version = "1.0.0"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "kapok"

[tool.flwr.app.components]
serverapp = "kapok_bench.apps:server"
clientapp = "kapok_bench.apps:client"

[tool.flwr.app.config]
rounds = 3
nodes = 8
patients = 32
told = ""

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["kapok_bench"]
"""
APPS = """
import json
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

from simulations.bench.flower_runtime import update

client = ClientApp()
server = ServerApp()


@client.train()
def train(message, context):
    weights = message.content["arrays"]["weights"].numpy()
    stepped = update(weights, int(context.run_config["patients"]))
    reply = {"arrays": ArrayRecord({"weights": Array(stepped)}), "metrics": MetricRecord({"num-examples": 1})}
    return Message(RecordDict(reply), reply_to=message)


class Timed(FedAvg):
    ends = []

    def aggregate_train(self, server_round, replies):
        found = super().aggregate_train(server_round, list(replies))
        self.ends.append(time.time())
        return found


@server.main()
def main(grid, context):
    nodes, rounds = int(context.run_config["nodes"]), int(context.run_config["rounds"])
    strategy = Timed(fraction_evaluate=0.0, min_train_nodes=nodes, min_available_nodes=nodes)
    start = ArrayRecord({"weights": Array(np.zeros(10_000))})
    strategy.start(grid=grid, initial_arrays=start, num_rounds=rounds)
    Path(context.run_config["told"]).write_text(json.dumps(Timed.ends))
"""


def update(weights: Floats, patients: int) -> Floats:
    """One hospital's step of plain DP-SGD's arithmetic: gradients a patient, clipped and summed."""
    study, draw = Wide(), np.random.default_rng(1)
    study.prepare(FEATURES)
    study.begin(weights)
    features, outcome = draw.uniform(-1, 1, (patients, FEATURES)), np.ones(patients)
    rows = np.stack([study.gradient(features[n : n + 1], outcome[n : n + 1]) for n in range(patients)])
    mean: Floats = summed(rows, Bound(WEIGHTS, 1.0, 128)) / (128.0 * patients)
    return weights - 0.5 * mean


def rounds_s(folder: Path, nodes: int, rounds: int, patients: int) -> list[float]:
    """Seconds from one round's end to the next one's. Raises RuntimeError where Flower did not come to its end."""
    app, told = folder / "app", folder / "ends.json"
    (app / "kapok_bench").mkdir(parents=True)
    (app / "pyproject.toml").write_text(PYPROJECT)
    (app / "kapok_bench" / "__init__.py").write_text("")
    (app / "kapok_bench" / "apps.py").write_text(APPS)
    port = free_ports(1 + nodes)
    path = os.pathsep.join([str(Path(program("flwr")).parent), os.environ.get("PATH", "")])  # its programs call each other by name
    environment = {**os.environ, **QUIET, "FLWR_HOME": str(folder / "flwr"), "PATH": path}
    (folder / "flwr").mkdir()
    connection = f'[superlink]\ndefault = "bench"\n\n[superlink.bench]\naddress = "127.0.0.1:{port[0]}"\ninsecure = true\n'
    (folder / "flwr" / "config.toml").write_text(connection)
    link = ("flower-superlink", "--insecure", "--port", port[0], "--disable-runtime-dependency-installation")
    each = [("flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port[0]}", "--port", own) for own in port[1:]]
    with _running([link], environment, folder):
        _await(lambda: _answers(port[0]), "a superlink that answers")
        with _running(each, environment, folder):
            config = f'rounds={rounds} nodes={nodes} patients={patients} told="{told}"'
            _flwr("run", str(app), "bench", "--run-config", config, environment=environment)
            _await(lambda: told.exists() and told.read_text(), "the end of its run")
    ends = json.loads(told.read_text())
    return [after - before for before, after in pairwise(ends)]


@contextmanager
def _running(commands: Sequence[tuple[object, ...]], environment: dict[str, str], folder: Path) -> Iterator[None]:
    """All of them with their own children, until the block ends."""
    with (folder / "flower.log").open("ab") as log:
        started = [
            subprocess.Popen(
                [program(str(name)), *map(str, rest)], env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            for name, *rest in commands
        ]  # fmt: skip
    try:
        yield
    finally:
        for each in started:
            with suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGTERM)
        for each in started:
            try:
                each.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(each.pid, signal.SIGKILL)
                each.wait()


def _flwr(*arguments: str, environment: dict[str, str]) -> None:
    done = subprocess.run([program("flwr"), *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"flwr {arguments[0]}: exit code {done.returncode}: {(done.stdout + done.stderr)[-600:]}")


def _answers(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def _await(is_so: Callable[[], object], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > until:
            raise RuntimeError(f"Flower: not within {PATIENCE_S:.0f} s: {what}")
        time.sleep(0.5)
