"""The table of traps in this folder's README names tests that are there, and every trap of the list has one."""

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_trap_has_a_test_that_exists() -> None:
    table = (HERE / "README.md").read_text()
    defined = {name for path in HERE.parent.rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    assert set(re.findall(r"`(test_\w+)`", table)) <= defined
    rows = re.findall(r"^\| (\d+)\. [^|]+\|[^|]*`test_", table, re.M)
    assert [int(number) for number in rows] == list(range(1, 13))
