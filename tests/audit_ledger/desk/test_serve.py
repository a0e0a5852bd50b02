"""`kapok-audit serve` as a real process: one ready line, a cosignature over HTTP, and a clean end on SIGTERM."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audit_ledger.cosignature import WitnessKey
from audit_ledger.init import create_auditor, witness_key
from audit_ledger.main import run
from audit_ledger.party.home import Home
from audit_ledger.policy import Policy, TrustFile, Witness
from audit_ledger.witness_client import WitnessClient
from tests.support.certificates import Authority
from tests.support.city import AUDITOR, City

pytestmark = pytest.mark.wire


def test_serve_cosigns_and_ends_cleanly(tmp_path: Path) -> None:
    city = City(tmp_path / "city")
    home = Authority().equip(tmp_path / "A", AUDITOR)
    create_auditor(home, "gz", 3, 2)
    witness = WitnessKey(witness_key("gz", home.key("witness")))
    policy = Policy(city.trust.policy.logs, (Witness("gz", witness),), (), "gz")
    home.write("trust.policy", TrustFile(policy, city.trust.entry0).encode())
    command = [sys.executable, "-m", "audit_ledger.main", "serve", "--home", str(home.path)]
    listen = ["--listen", "127.0.0.1:0", "--witness-listen", "127.0.0.1:0", "--lang", "en"]
    with subprocess.Popen([*command, *listen], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready: opener 127.0.0.1:"), line + (process.stderr.read() if process.stderr else "")
        client = WitnessClient(line.strip().rpartition(" ")[2], witness)
        note = city.log.checkpoint_covering(city.log.size)
        assert b"gz.witness.kapok" in client.cosign(note, city.log.consistency)
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    city.close()


def test_serve_without_a_certificate_or_trust_file_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_auditor(Home(tmp_path), "gz", 3, 2)
    assert run(["serve", "--home", str(tmp_path)]) == 2
    assert "kapok-audit enroll" in capsys.readouterr().err
