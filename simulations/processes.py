"""Real processes of a simulated city: started, watched until they say they are ready, killed, and never left behind.

Every program is the one a user installs, called by its console script; what it prints goes to `<folder>/<name>.log`.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

READY = b"ready"
STANDARD_ERROR = 2
START_TIMEOUT_S = 60.0
# Longer than any honest count here, also on a busy machine: an overrun would pause a hospital.
SLOT_MS = 1500


class CommandFailed(Exception):
    """A program of the city ended with an error; its output says why."""


def program(name: str) -> str:
    """The console script beside the running interpreter."""
    return str(Path(sys.executable).parent / name)


def inherited() -> frozenset[int]:
    """Descriptors that whoever started this process left open in it: a shell's lock, a pipe. Ask before a library opens its own.

    What Python opens is not inheritable (PEP 446), and a program of a city gets none of them; this process has them until its end.
    """
    found = (int(name) for name in os.listdir("/dev/fd"))  # noqa: PTH208 (names alone: one of them is gone when it is looked at)
    return frozenset(each for each in found if each > STANDARD_ERROR and _is_inheritable(each))


def _is_inheritable(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False  # the listing's own


def end_by_signals() -> None:
    """SIGTERM and SIGINT end what runs here as Ctrl-C does, so that every program of a city is stopped on the way out.

    A shell starts what it sends to the background with SIGINT ignored, and Python leaves it so.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.default_int_handler)


def _environment() -> dict[str, str]:
    # Without cached bytecode every start of a program would compile the house anew. What programs say is read here, so that it is
    # in one language, whatever the reader's.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith("LC_")}
    return {**kept, "LANG": "C.UTF-8"}


def run(name: str, *arguments: object, expect: Sequence[int] = (0,), environment: dict[str, str] | None = None) -> str:
    """Runs a program to its end and returns its standard output. Raises CommandFailed with the last lines it printed."""
    command = [program(name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**_environment(), **(environment or {})}, check=False)
    if done.returncode not in expect:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise CommandFailed(f"{name} {arguments[0] if arguments else ''}: exit code {done.returncode}\n{tail}")
    return done.stdout


@dataclass(slots=True)
class Service:
    """One long-running program."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once the program has printed a line that starts with `ready`. Raises CommandFailed."""
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=log, start_new_session=True, env=_environment()
            )

    def await_ready(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        until = time.monotonic() + START_TIMEOUT_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while time.monotonic() < until and selector.select(until - time.monotonic()):
                line = self.process.stdout.readline()
                if line.startswith(READY):
                    return
                if not line:
                    break
        self.kill()
        raise CommandFailed(
            f"{self.name}: did not get ready within {START_TIMEOUT_S:.0f} s; what it said is in {self.log}\n{self.tail()}"
        )

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:]) if self.log.exists() else ""

    @property
    def processor_s(self) -> float:
        """What its process has used of the cores so far; 0 where it does not run, or the system does not tell."""
        stat = Path(f"/proc/{self.process.pid}/stat") if self.process else Path()
        if not stat.is_file():
            return 0.0
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """An orderly end (SIGTERM), then a hard one."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        self._let_go()

    def kill(self) -> None:
        """`kill -9`: no handler runs."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._let_go()

    def _let_go(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None


@dataclass(slots=True)
class Services:
    """All programs of a city; leaving the block ends every one of them."""

    folder: Path
    running: dict[str, Service] = field(default_factory=dict)

    def start(self, name: str, *command: object) -> Service:
        service = self.add(name, *command)
        service.start()
        return service

    def add(self, name: str, *command: object) -> Service:
        self.folder.mkdir(parents=True, exist_ok=True)
        head, *rest = map(str, command)
        service = Service(name, [program(head), *rest], self.folder / f"{name.replace('/', '-')}.log")
        self.running[name] = service
        return service

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()

    def end(self) -> None:
        services = list(self.running.values())
        for service in reversed(services):
            if service.process is not None:
                service.process.send_signal(signal.SIGTERM)
        for service in services:
            service.stop()
