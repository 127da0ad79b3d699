"""Nobody in a batch is held up by somebody else who is slow, or by one who never waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toapis_async import Backoff, Completed, ImageRequest, RateLimits, ToapisSession
from toapis_async._batch.signals import Breather
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")


async def test_a_question_that_hangs_does_not_hold_up_the_others(session: ToapisSession, sim: Simulator) -> None:
    ids = [(await session.submit(FOX)).id for _ in range(5)]
    await anyio.sleep(30)
    sim.add_fault(faults.hang(when="before", kind="query"))
    started = anyio.current_time()
    async with session.open_batch() as batch:
        for task_id in ids:
            batch.attach(task_id)
        ended = [(anyio.current_time() - started, outcome) async for outcome in batch]
    assert all(isinstance(outcome, Completed) for _, outcome in ended)
    assert [seconds < 5 for seconds, _ in ended] == [True] * 4 + [False]


async def test_giving_way_costs_one_round_of_the_event_loop_in_a_millisecond() -> None:
    now, turns = 0.0, 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    breather = Breather(lambda: now)
    async with anyio.create_task_group() as group:
        group.start_soon(others)
        await checkpoint()
        turns = 0
        for number in range(100):
            now = number * 0.000_1
            await breather.breathe()
        assert turns == 10
        group.cancel_scope.cancel()


def test_a_source_and_a_consumer_that_take_their_time_let_other_tasks_run() -> None:
    turns = 0
    turns_seen: dict[str, list[int]] = {"pull": [], "take": []}

    def work(kind: str) -> None:
        turns_seen[kind].append(turns)
        time.sleep(0.002)  # what holds up the loop is real time: this is the work, not a wait

    def pulled() -> Iterator[ImageRequest]:
        for _ in range(10):
            work("pull")
            yield FOX

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async def main(sim: Simulator) -> None:
        poll, limits = Backoff(initial=0.01), RateLimits.for_group("svip")
        async with (
            ToapisSession(sim.api_key, base_url=sim.base_url, poll=poll, limits=limits) as session,
            session.open_batch(pulled()) as batch,
            anyio.create_task_group() as group,
        ):
            group.start_soon(others)
            with anyio.fail_after(30):
                while batch.progress.ended < 10:
                    await checkpoint()
            async for _ in batch:
                work("take")
            group.cancel_scope.cancel()

    with Simulator(limits=None, durations=0.1) as sim:
        asyncio.run(main(sim))
    assert [len(set(seen)) for seen in turns_seen.values()] == [10, 10]
