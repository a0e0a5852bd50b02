"""What holds for every test of the house."""

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# A property is true or false however busy the machine is; how fast it is, a benchmark says.
settings.register_profile("kapok", deadline=None)
settings.load_profile("kapok")


@pytest.fixture(autouse=True)
def _logs_of_one_test_only() -> Iterator[None]:
    """A program that was run here has pointed the logs at this test's standard error, which is closed with it."""
    yield
    structlog.reset_defaults()
