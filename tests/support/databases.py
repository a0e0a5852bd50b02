"""Real servers for tests: PostgreSQL and MariaDB from Debian's packages, on loopback, in a folder of their own, gone afterwards.

Where a package is not installed the tests skip with a message; under CI=true that is an error.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulations.ports import free_ports

PASSWORD = "a long password"
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@dataclass(frozen=True)
class Running:
    """A server; `run` sends statements as its administrator, `again` asks on a given database."""

    port: int
    run: Callable[[str], str]


def missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed; tests/support/servers.sh installs it")
    pytest.skip(f"{what} is not installed; tests/support/servers.sh installs it")


@contextmanager
def postgresql() -> Iterator[Running]:
    if not POSTGRES:
        missing("postgresql")
    with _folder_of("postgres") as (folder, as_owner):
        yield from _postgresql(folder, as_owner)


def _postgresql(folder: Path, as_owner: list[str]) -> Iterator[Running]:
    binaries, data, port = POSTGRES[-1], folder / "data", free_ports(1)[0]
    quiet = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-k", str(folder), "-p", str(port)]
    _done([*as_owner, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"])

    def run(sql: str) -> str:
        command = [
            *as_owner,
            str(binaries / "psql"),
            "-h",
            str(folder),
            "-p",
            str(port),
            "-qtA",
            "-v",
            "ON_ERROR_STOP=1",
            "postgres",
        ]
        return _done(command, sql)

    with _process([*as_owner, str(binaries / "postgres"), "-D", str(data), *quiet], folder, lambda: run("SELECT 1")):
        yield Running(port, run)


@contextmanager
def mariadb() -> Iterator[Running]:
    server = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
    if server is None:
        missing("mariadb-server")
    with _folder_of("mysql") as (folder, as_owner):
        yield from _mariadb(folder, as_owner, server)


def _mariadb(folder: Path, as_owner: list[str], server: str) -> Iterator[Running]:
    data, port, door = folder / "data", free_ports(1)[0], folder / "door"
    # A starting server clears away the temporary tables of its folder, so that two at once must not share one.
    own = ["--no-defaults", f"--datadir={data}", f"--tmpdir={folder}"]
    _done([*as_owner, "mariadb-install-db", *own, "--auth-root-authentication-method=normal", "--skip-test-db"])

    def run(sql: str) -> str:
        return _done(["mariadb", "--no-defaults", f"--socket={door}", "-uroot", "-N", "--default-character-set=utf8mb4"], sql)

    listens = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={door}", "--innodb-flush-log-at-trx-commit=0"]
    with _process([*as_owner, str(server), *own, *listens, f"--pid-file={folder}/pid"], folder, lambda: run("SELECT 1")):
        yield Running(port, run)


@contextmanager
def _folder_of(user: str) -> Iterator[tuple[Path, list[str]]]:
    """A folder of a server's own, and how to run it: neither server runs as root, so that it gets its package's user."""
    with tempfile.TemporaryDirectory(prefix="kapok-", ignore_cleanup_errors=True) as name:
        if os.getuid() != 0:
            yield Path(name), []
            return
        shutil.chown(name, user)
        yield Path(name), ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"]


def _done(command: list[str], given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout.strip()


@contextmanager
def _process(command: list[str], folder: Path, is_up: Callable[[], object]) -> Iterator[None]:
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _await(is_up, process, folder / "log")
        yield
    finally:
        process.terminate()
        process.wait(30)


def _await(is_up: Callable[[], object], process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            is_up()
        except AssertionError:
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < until, "the server did not come up"
            time.sleep(0.1)
        else:
            return
