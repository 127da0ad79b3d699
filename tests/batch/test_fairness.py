"""Nobody in a batch is held up by somebody else who is slow, or by one who never waits."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from toapis_async import Completed, ImageRequest, ToapisSession
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


async def test_a_plain_source_gives_way_before_each_item(session: ToapisSession) -> None:
    turns = 0
    turns_at_pull: list[int] = []

    def pulled() -> Iterator[ImageRequest]:
        for _ in range(20):
            turns_at_pull.append(turns)
            yield FOX

    async with session.open_batch(pulled()):
        while len(turns_at_pull) < 20:
            turns += 1
            await checkpoint()
    assert len(set(turns_at_pull)) == 20
