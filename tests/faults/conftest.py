"""One town for the whole table, founded once with the real programs."""

from collections.abc import Iterator

import pytest

from tests.faults.support.world import World, found


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = found(tmp_path_factory.mktemp("town"))
    yield made
    made.close()
