"""What holds for every test of the house."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# A property is true or false however busy the machine is; how fast it is, a benchmark says.
settings.register_profile("kapok", deadline=None)
settings.load_profile("kapok")


@pytest.fixture(autouse=True)
def _logs_go_where_this_test_writes() -> Iterator[None]:
    """A program that a test ran in this process has bound the logs to an output that ends with it."""
    yield
    structlog.reset_defaults()
