"""Three real witness processes, two of whom make the quorum: one may die, two may not, and what the gate then takes."""

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from audit_ledger.errors import NoQuorum, QuorumMissing
from audit_ledger.follower import Follower
from audit_ledger.gate import Gate
from audit_ledger.init import witness_key
from audit_ledger.main import run
from audit_ledger.note import Note
from audit_ledger.party.home import Home
from audit_ledger.policy import TrustFile
from audit_ledger.proof import TlogProof
from audit_ledger.witness_quorum import WitnessQuorum
from coordinator import ledger as ledger_module
from coordinator.config import BadConfig, Config
from coordinator.ledger import CityLedger
from coordinator.main import app
from coordinator.witnesses import open_witnesses, with_witnesses
from protocols import statements as st
from protocols.refusal import Reason
from tests.coordinator.support.asked import query
from tests.support.city import ORIGIN, City, key

pytestmark = pytest.mark.wire


@dataclass
class Witnesses:
    """`kapok-audit witness` processes for one log. The first is at hand in `urls` under its name, and so on."""

    root: Path
    log: str
    processes: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)

    def start(self, *names: str, port: int = 0) -> None:
        for name in names:
            options = ["--home", str(self.root / name), "--name", name, "--listen", f"127.0.0.1:{port}", "--log", self.log]
            command = [sys.executable, "-m", "audit_ledger.main", "witness", *options, "--lang", "en"]
            self.processes[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for name in names:
            said = self.processes[name].stdout
            assert said is not None
            ready, _, vkey = said.readline().strip().partition("  key ")
            self.lines[name] = f"{name} {vkey} {ready.rpartition(' ')[2]}"

    def port(self, name: str) -> int:
        return int(self.lines[name].rpartition(":")[2])

    def kill(self, *names: str) -> None:
        for name in names:
            process = self.processes.pop(name)
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    made = City(tmp_path / "city", now=int(time.time()))
    yield made
    made.close()


@pytest.fixture
def witnesses(tmp_path: Path, city: City) -> Iterator[Witnesses]:
    made = Witnesses(tmp_path, city.trust.policy.logs[0].key.vkey.encode())
    yield made
    made.kill(*made.processes)


def config(city: City, url: str = "http://127.0.0.1:1") -> Config:
    return Config("kapok://coordinator/gz", ORIGIN, city.trust.policy.logs[0].key.vkey.encode(), "", "", "", url)


def two_of(city: City, witnesses: Witnesses, names: tuple[str, ...]) -> TrustFile:
    """The trust file of a city whose witnesses are these alone, two of them needed."""
    text = [f"witness {witnesses.lines[name]}" for name in names]
    policy = [city.trust.policy.encode().decode().splitlines()[0], *text, f"group g 2 {' '.join(names)}", "quorum g", ""]
    return TrustFile.parse(f"# kapok entry0 {city.trust.entry0.hex()}\n".encode() + "\n".join(policy).encode())


def in_life(city: City, trust: TrustFile, work: Any) -> None:
    async def live() -> None:
        quorum = open_witnesses(config(city), trust, city.log, Home(city.path))
        assert isinstance(quorum, WitnessQuorum)
        ledger = CityLedger(city.log, quorum, trust, lambda: int(time.time()))
        publisher = asyncio.create_task(ledger.publish_forever())
        try:
            await work(ledger, quorum)
        finally:
            publisher.cancel()
            with suppress(asyncio.CancelledError):
                await publisher
            await ledger.settle()
            quorum.close()

    asyncio.run(live())


def offered(ledger: CityLedger, city: City, trust: TrustFile, entry: bytes) -> tuple[Gate, bytes]:
    """A hospital that followed under `trust`, and the proof of a query that it is offered."""
    gate = Gate(Follower(trust), "kapok://hospital/h01")
    gate.follower.follow(0, city.log.entries(0, ledger.note_size), ledger.note, int(time.time()))
    return gate, ledger.proof(ledger.index_of(st.parse(entry).id))


def test_two_of_three_witnesses_make_the_quorum_and_the_gate_demands_both(
    city: City, witnesses: Witnesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "RETRY_S", 0.01)
    names = ("w1", "w2", "w3")
    witnesses.start(*names)
    trust = two_of(city, witnesses, names)

    async def work(ledger: CityLedger, quorum: WitnessQuorum) -> None:
        entry = query(city)
        await ledger.append([entry])
        await ledger.cosigned()
        witnesses.kill("w3")
        with socket.create_server(("127.0.0.1", witnesses.port("w3"))):  # takes the connection and never answers
            await ledger.append([query(city)])
            await ledger.cosigned(timeout_s=5)  # a witness is given 10 s
        entry = query(city)
        await ledger.append([entry])
        note = await ledger.cosigned(timeout_s=5)
        assert len(trust.policy.open(note).times) == 2, "the dead witness is not waited for"
        gate, proof = offered(ledger, city, trust, entry)
        assert gate.pass_query(entry, proof, int(time.time())).refusals == []
        one = _with_one_cosignature(note, trust)
        with pytest.raises(NoQuorum, match="the quorum is 'g'"):
            trust.policy.evaluate(one, int(time.time()), 600)
        index = ledger.index_of(st.parse(entry).id)
        lesser = TlogProof(index, tuple(city.log.proof(index, ledger.note_size)), one).encode()
        assert Reason.NO_QUORUM in {each.reason for each in gate.pass_query(entry, lesser, int(time.time())).refusals}
        witnesses.kill("w2")
        await ledger.append([query(city)])
        with pytest.raises(Exception, match=QuorumMissing.code):
            await ledger.cosigned(timeout_s=1)
        assert set(quorum.problems) == {"w2", "w3"}

    in_life(city, trust, work)


def _with_one_cosignature(note: bytes, trust: TrustFile) -> bytes:
    parsed = Note.parse(note)
    cosigned = next(each for each in trust.policy.witnesses if each.key.cosigned_at(parsed) is not None)
    kept = (*parsed.lines_of(trust.policy.logs[0].key.vkey), *parsed.lines_of(cosigned.key.vkey))
    return Note(parsed.text, kept).encode()


def test_a_witness_restored_from_an_old_copy_is_left_out_named_and_put_right_by_pin(
    city: City, witnesses: Witnesses, tmp_path: Path
) -> None:
    """Two of two, so that the one that forgot is needed: nothing goes on until a person has compared and pinned."""
    names = ("w1", "w2")
    witnesses.start(*names)
    trust = two_of(city, witnesses, names)

    async def work(ledger: CityLedger, quorum: WitnessQuorum) -> None:
        await ledger.cosigned()
        await ledger.append([query(city)])
        await ledger.cosigned()
        await ledger.settle()
        witnesses.kill("w2")
        shutil.rmtree(tmp_path / "w2")
        shutil.copytree(tmp_path / "copy", tmp_path / "w2")
        witnesses.start("w2", port=witnesses.port("w2"))
        await ledger.append([query(city)])
        with pytest.raises(Exception, match=QuorumMissing.code):
            await ledger.cosigned(timeout_s=1)
        assert quorum.problems["w2"].code == "ledger.witness_behind"
        assert "kapok-audit pin" in str(quorum.problems["w2"])
        assert run(["pin", str(city.folder), "--home", str(tmp_path / "w2")]) == 0
        await ledger.cosigned(timeout_s=10)

    async def first(ledger: CityLedger, _: WitnessQuorum) -> None:
        await ledger.cosigned()
        await ledger.settle()

    in_life(city, trust, first)
    shutil.copytree(tmp_path / "w2", tmp_path / "copy")
    old = (city.folder / "checkpoint").read_bytes()
    in_life(city, trust, work)
    (tmp_path / "old").write_bytes(old)
    assert run(["pin", str(tmp_path / "old"), "--home", str(tmp_path / "w2")]) == 1, "a witness never goes back"


def test_a_quorum_is_more_than_half_and_every_witness_needs_an_address(city: City) -> None:
    with pytest.raises(BadConfig, match="more than half of 1 witnesses, got 2"):
        with_witnesses(city.trust, config(city), [], 2)
    with pytest.raises(BadConfig, match="expected 'NAME VKEY URL'"):
        with_witnesses(city.trust, config(city), ["w2 nonsense"], 1)
    with pytest.raises(BadConfig, match="cannot make the quorum"):
        open_witnesses(config(city, ""), city.trust, city.log, Home(city.path))


def test_the_operator_adds_witnesses_by_a_command(city: City, tmp_path: Path) -> None:
    home = Home(tmp_path / "C")
    home.write("config.toml", config(city).encode())
    home.write("trust.policy", city.trust.encode())
    lines = [f"w{at} {witness_key(f'w{at}', key(f'w{at}')).encode()} http://127.0.0.1:{at + 2}" for at in range(2)]
    options = [each for line in lines for each in ("--add", line)]
    assert CliRunner().invoke(app, ["witnesses", "--home", str(home.path), *options, "--quorum", "1"]).exit_code == 3
    assert home.trust() == city.trust
    assert CliRunner().invoke(app, ["witnesses", "--home", str(home.path), *options, "--quorum", "2"]).exit_code == 0
    policy = home.trust().policy
    assert [each.url for each in policy.witnesses] == ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"]
    assert not policy.is_quorum(frozenset({"gz"}))
    assert policy.is_quorum(frozenset({"gz", "w1"}))
    fresh = f"w1 {witness_key('w1', key('w1, new')).encode()} http://127.0.0.1:9"
    assert CliRunner().invoke(app, ["witnesses", "--home", str(home.path), "--add", fresh]).exit_code == 0
    changed = home.trust().policy
    assert [each.name for each in changed.witnesses] == ["gz", "w0", "w1"]
    assert changed.witnesses[2].key.vkey.encode() in fresh, "a known name changes its key, the quorum stays"
    assert not changed.is_quorum(frozenset({"gz"}))
    shown = CliRunner().invoke(app, ["witnesses", "--home", str(home.path), "--json"])
    assert '"witnesses": "2 / 3"' in shown.stdout
