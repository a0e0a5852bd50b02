"""What holds for every test of the house."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

# A property is true or false however busy the machine is; how fast it is, a benchmark says.
settings.register_profile("kapok", deadline=None)
settings.load_profile("kapok")

MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30


def pytest_configure() -> None:
    """Temporary folders lie in memory where it has room, and in TMPDIR where that is set.

    The suite makes many small durable writes. That each is asked for, and in which order, is what tests check, and a killed process
    leaves the same there; what waits for a disk is not, and took more than half of the time.
    """
    if "TMPDIR" not in os.environ and _has_room():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _has_room() -> bool:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return os.access(MEMORY, os.W_OK) and min(free, shutil.disk_usage(MEMORY).free) >= ROOM


@pytest.fixture(autouse=True)
def _logs_of_one_test_only() -> Iterator[None]:
    """A program that was run here has pointed the logs at this test's standard error, which is closed with it."""
    yield
    structlog.reset_defaults()
