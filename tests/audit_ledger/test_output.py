"""A reader that goes away, a full disk and a narrow encoding: no traceback, and never the exit code that says "tampering"."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console, Group, RenderableType
from rich.table import Table

from audit_ledger.party.output import CUT_SHORT, unabridged

ROOT = Path(__file__).parents[2]
PROGRAMS = ("coordinator.client.main", "hospital_node.main", "coordinator.main", "audit_ledger.main", "simulations.main")


def _ended(module: str, stdout: int, **environment: str) -> tuple[int, str]:
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=os.environ | environment, cwd=ROOT, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("module", PROGRAMS)
def test_a_reader_that_went_away_is_no_evidence_of_tampering(module: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert _ended(module, writer) == (CUT_SHORT, "")
    finally:
        os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full (Linux)")
def test_a_full_disk_is_told_without_a_traceback() -> None:
    with Path("/dev/full").open("wb") as full:
        assert _ended("audit_ledger.main", full.fileno()) == (CUT_SHORT, "stdout: No space left on device\n")


def test_signs_that_the_terminal_lacks_become_question_marks(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with told.open("wb") as into:
        assert _ended("audit_ledger.main", into.fileno(), PYTHONIOENCODING="ascii", LANG="zh_CN.UTF-8", LC_ALL="") == (0, "")
    assert b"audit_ledger.main" in told.read_bytes()
    assert b"??" in told.read_bytes()


def test_an_exit_code_that_says_more_is_kept() -> None:
    """Where a verdict is cut off behind its last word, the evidence still counts."""
    program = "from audit_ledger.party.output import steady_output\nwith steady_output():\n print('x')\n raise SystemExit(1)"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = subprocess.run([sys.executable, "-c", program], stdout=writer, cwd=ROOT, check=False)
    finally:
        os.close(writer)
    assert ended.returncode == 1


def test_no_cell_of_a_table_is_cut_on_a_narrow_terminal() -> None:
    def drawn(what: RenderableType) -> str:
        console = Console(file=io.StringIO(), width=30)
        console.print(what)
        return cast("io.StringIO", console.file).getvalue()

    table = Table("变量与其单位", "标准误，含隐私噪声在内", title="表")
    table.add_row("年龄", "0.0797234567891234567")
    assert "…" in drawn(table), "so it would be"
    whole = drawn(unabridged(Group("a line", table)))
    assert "…" not in whole
    assert sorted("标准误，含隐私噪声在内") == sorted(sign for sign in whole if sign in "标准误，含隐私噪声在内")
