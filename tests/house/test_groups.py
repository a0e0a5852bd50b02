"""Tests that share a founded town are of one group, and a group is one worker's: else each worker founds the town again."""

import re
import subprocess
import sys
from pathlib import Path

MAKEFILE = Path(__file__).parents[2] / "Makefile"
SOME = """
import os
import pytest

@pytest.mark.parametrize("number", range(6))
@pytest.mark.xdist_group("town")
def test_of_a_group(number):
    with open("workers", "a") as found:
        found.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")

@pytest.mark.parametrize("number", range(12))
def test_of_none(number):
    pass
"""


def test_the_suite_as_it_is_called_gives_a_group_to_one_worker(tmp_path: Path) -> None:
    (unit,) = re.findall(r"-m pytest (.*--dist \w+)", MAKEFILE.read_text("utf-8"))
    (tmp_path / "test_some.py").write_text(SOME)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *unit.split(), "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    workers = (tmp_path / "workers").read_text().split()
    assert len(workers) == 6
    assert len(set(workers)) == 1
