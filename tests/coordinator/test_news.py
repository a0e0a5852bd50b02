"""News wakes who waits, once, and leaves nothing behind."""

import asyncio

from coordinator.news import News, first_of


async def _soon() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_any_of_several_wakes_all_who_wait_for_it_and_no_other() -> None:
    async def story() -> None:
        here, there, elsewhere = News(), News(), News()
        woken = [asyncio.create_task(first_of(None, here, there)) for _ in range(2)]
        asleep = asyncio.create_task(first_of(None, elsewhere))
        await _soon()
        there.tell()
        await _soon()
        assert [each.done() for each in [*woken, asleep]] == [True, True, False]
        asleep.cancel()

    asyncio.run(story())


def test_what_was_told_before_somebody_waited_wakes_nobody() -> None:
    async def story() -> None:
        news = News()
        news.tell()
        waiting = asyncio.create_task(first_of(None, news))
        await _soon()
        assert not waiting.done()
        waiting.cancel()

    asyncio.run(story())


def test_the_timeout_ends_the_wait_and_nothing_of_it_stays() -> None:
    async def story() -> None:
        news = News()
        await first_of(0.001, news)
        assert not news._waiting
        cancelled = asyncio.create_task(first_of(None, news))
        await _soon()
        assert len(news._waiting) == 1
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert not news._waiting
        news.tell()

    asyncio.run(story())
