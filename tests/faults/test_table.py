"""Every row of the fault table in one town of real processes; after each row everything is checked."""

from pathlib import Path

import pytest

from tests.faults.rows import TABLE, Row
from tests.faults.support.table import readme_table
from tests.faults.support.world import World

README = Path(__file__).parent / "README.md"


@pytest.mark.wire
@pytest.mark.xdist_group("town")
@pytest.mark.parametrize("row", TABLE, ids=[each.act.__name__ for each in TABLE])
def test_the_question_ends_as_the_table_says_and_nothing_is_lost(world: World, row: Row) -> None:
    end = row.act(world)
    assert (end.state, end.reasons) == (row.state, row.reasons)
    counts = tuple(len(each) for each in (end.answered, end.refused, end.away, end.left_out))
    assert counts == row.coverage
    world.check_everything()


def test_the_readme_shows_this_table() -> None:
    assert readme_table() in README.read_text()
