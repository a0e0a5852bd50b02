"""What watchers of a question are told: how it began, what changes as often as eyes can follow, and its end at once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator import question as question_module
from coordinator.admission import admitted_of
from coordinator.question import Question
from tests.hospital_node.support.nodes import Asking, Nodes


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    world = Nodes(tmp_path, 5)
    yield world.ask()
    world.close()


def _told(asking: Asking, between: float) -> list[tuple[str, int]]:
    """State and Readys as a watcher saw them, of a question whose hospitals get ready one by one, and which then ends."""

    async def story() -> list[tuple[str, int]]:
        question, seen = Question(admitted_of(asking.entry)), []

        async def watch() -> None:
            async for progress in question.follow():
                seen.append((progress.state, progress.ready))

        watching = asyncio.create_task(watch())
        await asyncio.sleep(between)
        for uri in question.query.audience:
            question.readys[uri] = b"ready"
            question.note()
            await asyncio.sleep(between)
        question.state = "released"
        question.note()
        await asyncio.wait_for(watching, 30)
        return seen

    return asyncio.run(story())


def test_what_changes_while_eyes_still_rest_on_the_last_is_told_with_the_next(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(question_module, "CALM_S", 3600.0)
    assert _told(asking, 0.0) == [("submitted", 0), ("released", 5)]


def test_everything_that_changes_is_told_where_there_is_time(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_module, "CALM_S", 0.0)
    assert _told(asking, 0.02) == [*(("submitted", n) for n in range(6)), ("released", 5)]
