"""Many time limits on one timer."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toapis_async._http.timeouts import Timeouts
from toapis_async.testing import VirtualClockEventLoop

whole_seconds = st.integers(1, 20)


async def work(timeouts: Timeouts, start: float, limit: float, seconds: float) -> tuple[float, bool]:
    """Work for some seconds under a limit; returns for how long it was, and whether it came to its end."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(start)
    started, is_done = loop.time(), False
    try:
        async with asyncio.Timeout(None) as timeout:
            timeouts.start(timeout, limit)
            try:
                await asyncio.sleep(seconds)
                is_done = True
            finally:
                timeouts.stop(timeout)
    except TimeoutError:
        pass
    return loop.time() - started, is_done


@given(st.lists(st.tuples(st.integers(0, 10), whole_seconds, whole_seconds), min_size=1, max_size=12))
def test_each_limit_holds(jobs: list[tuple[int, int, int]]) -> None:
    loop = VirtualClockEventLoop()

    async def all_at_once() -> list[tuple[float, bool]]:
        timeouts = Timeouts()
        return await asyncio.gather(*(work(timeouts, start, limit, worked + 0.5) for start, limit, worked in jobs))

    try:
        found = loop.run_until_complete(all_at_once())
    finally:
        loop.close()
    for (seconds, is_done), (_, limit, worked) in zip(found, jobs, strict=True):
        assert seconds == pytest.approx(min(limit, worked + 0.5))
        assert is_done == (worked + 0.5 < limit)


async def clean_up_slowly(timeouts: Timeouts) -> None:
    async with asyncio.Timeout(None) as timeout:
        timeouts.start(timeout, 1)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(5)
            timeouts.stop(timeout)


def test_work_that_takes_long_to_end_is_told_once() -> None:
    async def both() -> None:
        timeouts = Timeouts()
        slow = asyncio.ensure_future(clean_up_slowly(timeouts))
        assert (await work(timeouts, 0, 3, 30), await work(timeouts, 0, 9, 4)) == ((3, False), (4, True))
        with pytest.raises(TimeoutError):
            await slow
        assert asyncio.get_running_loop().time() == 7

    loop = VirtualClockEventLoop()
    try:
        loop.run_until_complete(both())
    finally:
        loop.close()


def test_no_timer_is_left() -> None:
    async def twice() -> None:
        timeouts = Timeouts()
        await asyncio.gather(work(timeouts, 0, 9, 2), work(timeouts, 1, 5, 2))

    loop = VirtualClockEventLoop()
    try:
        loop.run_until_complete(twice())
        with pytest.raises(RuntimeError, match="deadlock"):  # with a timer, time would go on before that
            loop.run_until_complete(loop.create_future())
        assert loop.time() == 3
    finally:
        loop.close()
