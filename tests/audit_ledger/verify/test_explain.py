"""`explain`: what it prints is run, by sh, openssl and sha256sum."""

import shutil
import subprocess
from pathlib import Path

import pytest

from audit_ledger.main import run
from tests.audit_ledger.verify.city_on_disk import build

TOOLS = ("sh", "openssl", "sha256sum", "base64")


@pytest.mark.skipif(any(shutil.which(each) is None for each in TOOLS), reason=f"needs {', '.join(TOOLS)}")
def test_the_printed_steps_confirm_every_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = build(tmp_path / "city")
    capsys.readouterr()
    for index in (0, 3, 14, 27):
        assert run(["explain", str(index), str(disk.ledger), "--trust", str(disk.trust)]) == 0
        script = capsys.readouterr().out
        done = subprocess.run(["sh", "-e"], input=script, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        hashes = [line.split()[0] for line in done.stdout.splitlines() if len(line.split()[0]) == 64]
        expected = [line.rsplit("# ", 1)[1] for line in script.splitlines() if "| base64 -d | sha256sum   # " in line]
        assert hashes[1 : 1 + len(expected)] == expected
        assert expected[-1] in script.split("root of the checkpoint")[1]
        assert "Signature Verified Successfully" in done.stdout
