"""One bureau in one city per test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.coordinator.client.support.bureau import Bureau, make_bureau


@pytest.fixture
def bureau(tmp_path: Path) -> Iterator[Bureau]:
    made = make_bureau(tmp_path)
    yield made
    made.served.stop()
    made.city.close()
