"""The log's HTTP door as a crowd meets it: verified durable appends a second, and how soon one of them is cosigned.

A coordinator and an auditor's service as a user starts them, on loopback, with keys of their own and eight hospitals that the
auditor admitted through the same door. `wrk` (the Debian package) is the crowd: 64 connections, every request a statement that was
signed before. What counts is what stands in the log afterwards, not what wrk was told. Beside it, in the same run: how many
signatures this machine verifies in a loop, since one is verified for every entry. The processor time of an append, in
verifications, carries over to other machines and to busy ones: it bounds the rate of an idle core from above.
"""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit_ledger.checkpoint import Checkpoint
from audit_ledger.note import Note
from audit_ledger.party.home import Home
from protocols import statements as st
from protocols.canonical import b64
from protocols.clock import stamp
from protocols.identity import SigningKey
from simulations.bench.rows import Row, load
from simulations.processes import CommandFailed, Services
from simulations.town import AUDITOR, ORIGIN, Town

HOSPITALS, CONNECTIONS, SECONDS, A_SECOND_AT_MOST = 8, 64, 5, 6_000
PACE_HZ, PACED = 10, 60
POLL_S = 0.001
BUSY_LOAD = 1.0
PROCESSOR_BAR = "<= 4.8"  # 3,000 appends a second on a core that verifies 14,500
SCRIPT = Path(__file__).parent / "crowd.lua"


@dataclass(frozen=True, slots=True)
class Crowd:
    """What wrk saw, and how many entries the log had more afterwards."""

    appended: int
    seconds: float
    refused: int
    broken: int
    processor_s: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        return self.appended / self.seconds


def rows(is_quick: bool = False, tell: Callable[[str], None] = lambda _: None) -> list[Row]:
    """Appends under load, their latency, and the way from an append to its cosigned checkpoint."""
    with tempfile.TemporaryDirectory(prefix="kapok-bench-") as folder, open_city(Path(folder), tell) as city:
        paced = city.paced(20 if is_quick else PACED)
        return [*_crowd_rows(city, 1 if is_quick else SECONDS), *_paced_rows(paced)]


class DoorCity:
    """A running log with a door, and the hospitals whose statements go in."""

    def __init__(self, town: Town, address: str, tell: Callable[[str], None]) -> None:
        self.town, self.address, self.tell = town, address, tell
        self._door = HTTPConnection(address, timeout=30)
        self._hospitals = [(f"kapok://hospital/h{number:02d}", SigningKey.generate()) for number in range(1, HOSPITALS + 1)]
        self._number = 0
        approval = Home(town.auditor).key("approval")
        for uri, key in self._hospitals:
            self.add(self._admission(uri, key, approval))

    def add(self, entry: bytes) -> int:
        """Its index. Raises CommandFailed."""
        self._door.request("POST", "/add", entry, {"Content-Type": "application/json"})
        answer = self._door.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise CommandFailed(f"the door answered {answer.status}: {content.decode()}")
        return int(json.loads(content)["index"])

    def cosigned_size(self) -> int:
        """What the published checkpoint covers; 0 before the first."""
        self._door.request("GET", "/checkpoint")
        answer = self._door.getresponse()
        content = answer.read()
        return 0 if answer.status == HTTPStatus.NOT_FOUND else Checkpoint.parse(Note.parse(content).text).size

    def statements(self, count: int) -> Iterator[bytes]:
        """Signed ones, each another one; hospital by hospital."""
        at = stamp(int(time.time()))
        for _ in range(count):
            self._number += 1
            uri, key = self._hospitals[self._number % HOSPITALS]
            dataset = st.Dataset(log=ORIGIN, at=at, by=uri, tables=(), freshness=f"update {self._number}", static_blocks=())
            yield dataset.envelope().signed([key]).encode()

    def paced(self, count: int) -> list[float]:
        """Milliseconds from sending a statement to reading a published, cosigned checkpoint that covers it, at ten a second."""
        self.tell(f"{count} appends, {PACE_HZ} a second")
        found = []
        for entry in list(self.statements(count)):
            started = time.perf_counter()
            index = self.add(entry)
            while self.cosigned_size() <= index:
                time.sleep(POLL_S)
            found.append(1000 * (time.perf_counter() - started))
            time.sleep(max(0.0, 1 / PACE_HZ - (time.perf_counter() - started)))
        return found

    def crowd(self, seconds: int) -> Crowd:
        """`wrk` for so long, or until the statements are used up."""
        pool = self.town.root / "crowd.txt"
        self.tell("statements are signed")
        pool.write_bytes(b"".join(entry + b"\n" for entry in self.statements(seconds * A_SECOND_AT_MOST)))
        self._door.close()  # the door has closed its side while we signed; the next request opens it anew
        (first,) = self.statements(1)
        before, coordinator = self.add(first), self.town.services.running["coordinator"]
        self.tell(f"{CONNECTIONS} connections, {seconds} s")
        wrk = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), f"http://{self.address}")
        spent = coordinator.processor_s
        done = subprocess.run([*wrk, "--", str(pool)], capture_output=True, text=True, check=True)
        spent = coordinator.processor_s - spent
        told = json.loads(done.stdout.rpartition("result ")[2])
        self._door.close()
        (last,) = self.statements(1)
        appended = self.add(last) - before - 1
        return Crowd(appended, told["seconds"], told["refused"], told["broken"], spent, told["p50_ms"], told["p99_ms"])

    def _admission(self, uri: str, key: SigningKey, approval: SigningKey) -> bytes:
        licence = st.Licence(legal_name=f"legal name of {uri}", number=f"licence of {uri}")
        at = stamp(int(time.time()))
        added = st.KeyAdd(
            log=ORIGIN,
            at=at,
            by=uri,
            action="add",
            subject=uri,
            use="identity",
            key=b64(key.public),
            licence=licence,
            outbreak=False,
        )
        return added.envelope().signed([key, approval]).encode()


@contextmanager
def open_city(folder: Path, tell: Callable[[str], None]) -> Iterator[DoorCity]:
    tell(f"a coordinator and the auditor {AUDITOR}")
    with Services(folder / "logs") as services:
        town = Town(folder / "city", {}, services)
        town.found_log()
        config = town.coordinator / "config.toml"
        address = f"127.0.0.1:{Town(folder, {}, services).ports.link}"
        config.write_text(config.read_text().replace('http_listen = ""', f'http_listen = "{address}"'))
        town.start_coordinator()
        town.found_auditor()
        yield DoorCity(town, address, tell)


def verify_limit(seconds: float = 1.0) -> tuple[float, float]:
    """Ed25519 signatures this machine verifies in a second, in a plain loop over the library; microseconds of the core for one."""
    key, message = SigningKey.generate(), b"m" * 400
    public, signature = Ed25519PublicKey.from_public_bytes(key.public), key.sign(message)
    count, started, spent = 0, time.perf_counter(), time.thread_time()
    while time.perf_counter() - started < seconds:
        for _ in range(100):
            public.verify(signature, message)
        count += 100
    return count / (time.perf_counter() - started), 1e6 * (time.thread_time() - spent) / count


def _crowd_rows(city: DoorCity, seconds: int) -> list[Row]:
    name = "verified durable appends through the log's HTTP door"
    bar = f">= {3000 if os.getloadavg()[0] < BUSY_LOAD else 2000}"
    if shutil.which("wrk") is None:
        return [Row.measured(name, "1/s", 0.0, "not measured: wrk (Debian package) is not installed", bar=bar)]
    before, busy = verify_limit(), load()
    crowd = city.crowd(seconds)
    limit, each_us = (statistics.mean(pair) for pair in zip(before, verify_limit(), strict=True))
    how = (
        f"wrk, {CONNECTIONS} connections, {crowd.seconds:.1f} s, {HOSPITALS} signers; {crowd.appended:,} entries more in the log,"
        f" {crowd.refused} refused, {crowd.broken} broken; 3,000 is asked of two idle cores, 2,000 of busy ones; before: {busy}"
    )
    beside = f"one signature is verified for every entry; a loop over the library before and after; {load()}"
    spent_us = 1e6 * crowd.processor_s / max(1, crowd.appended)
    alone = f"a core alone would do {1e6 / max(1.0, spent_us):,.0f} a second"
    told = f"of the coordinator, beside one verification by the library; {alone}; {load()}"
    return [
        Row.measured(name, "1/s", crowd.rate, how, bar=bar),
        Row.measured("processor time of an append", "us", spent_us, told, bar=PROCESSOR_BAR, reference=each_us),
        Row.measured("appends beside the machine's Ed25519 verifications", "1/s", crowd.rate, beside, reference=limit),
        Row.measured("an append in that crowd, median", "ms", crowd.p50_ms, "as wrk saw it"),
        Row.measured("an append in that crowd, 99th percentile", "ms", crowd.p99_ms, "as wrk saw it"),
    ]


def _paced_rows(paced: Sequence[float]) -> list[Row]:
    how = f"{len(paced)} appends at {PACE_HZ} a second over HTTP on loopback, until the published checkpoint is read back; {load()}"
    cuts = statistics.quantiles(paced, n=100, method="inclusive")
    return [
        Row.measured("an append until its checkpoint is cosigned, median", "ms", statistics.median(paced), how, bar="<= 25"),
        Row.measured("an append until its checkpoint is cosigned, 99th percentile", "ms", cuts[98], how, bar="<= 150"),
    ]
