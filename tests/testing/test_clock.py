"""The virtual clock: time jumps, sockets do not notice, and a dead loop says so."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, TypeVar

import anyio
import pytest

from toapis_async.testing import VirtualClockEventLoop, faults

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from testing.conftest import Running


T = TypeVar("T")


def run(main: Coroutine[object, object, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualClockEventLoop) as runner:
        return runner.run(main)


def test_a_day_of_sleep_takes_no_time_and_timers_fire_in_order() -> None:
    order: list[tuple[float, str]] = []

    async def nap(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append((asyncio.get_running_loop().time(), name))

    async def main() -> None:
        await asyncio.gather(nap(86_400 * 3, "c"), nap(0.1, "a"), nap(3600, "b"))

    started = time.monotonic()
    run(main())
    assert time.monotonic() - started < 5
    assert order == [(pytest.approx(0.1), "a"), (3600, "b"), (86_400 * 3, "c")]


def test_waits_for_less_than_the_resolution_of_the_clock_end() -> None:
    """Two of them, one round of the loop apart, never leave it idle."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        rounds = 0

        async def wait_until(moment: float, later: int) -> None:
            nonlocal rounds
            for _ in range(later):
                await asyncio.sleep(0)
            while (left := moment - loop.time()) > 0:
                rounds += 1
                assert rounds < 100
                await asyncio.sleep(left)

        await asyncio.sleep(60)
        await asyncio.gather(wait_until(60 + 1e-13, 0), wait_until(60 + 5e-13, 1))

    run(main())


def test_timeouts_fire_at_their_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError), anyio.fail_after(1000):
            await anyio.sleep_forever()
        return asyncio.get_running_loop().time()

    assert run(main()) == 1000


def test_a_loop_in_which_nothing_can_happen_stops_with_an_error() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="deadlock: every task waits"):
        run(main())


def test_a_thread_may_still_wake_a_loop_without_timers() -> None:
    async def main() -> None:
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        thread = threading.Timer(0.02, loop.call_soon_threadsafe, args=(done.set,))
        thread.start()
        await done.wait()
        thread.join()

    run(main())


def test_a_grace_in_real_time_changes_nothing_that_the_test_sees() -> None:
    class Patient(VirtualClockEventLoop):
        grace = 0.002

    async def main() -> float:
        await asyncio.sleep(5)
        return asyncio.get_running_loop().time()

    started = time.monotonic()
    with asyncio.Runner(loop_factory=Patient) as runner:
        assert runner.run(main()) == 5
    assert time.monotonic() - started > 0.002


@pytest.mark.anyio
async def test_two_thousand_requests_on_virtual_time_happen_exactly_when_they_should(running: Running) -> None:
    """Many clients with minutes of sleep in between: a jump over bytes under way would show as a late answer."""
    loop = asyncio.get_running_loop()
    late: list[float] = []
    slow = faults.delay(30, when="after", kind="query", nth=7, times=500)

    async with running(faults=[slow]) as caller:

        async def client(number: int) -> None:
            for round_ in range(20):
                await asyncio.sleep(60 * ((number * 7 + round_) % 5) + number / 64)
                started = loop.time()
                if round_ % 4:
                    answer = await caller.get("x")
                    assert answer.status == 404
                else:
                    assert (await caller.submit()).status == 200
                took = loop.time() - started
                if took not in {0.0, 30.0}:
                    late.append(took)

        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(client(number))
        assert len(caller.simulator.requests) == 2000
    assert late == []
