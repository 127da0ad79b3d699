"""`generate_many`: outcomes in input order, and no exception for a single item."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from toapis_async import (
    ApiError,
    Completed,
    Failed,
    ImageRequest,
    RateLimits,
    ToapisSession,
)
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio


FOX = ImageRequest("a red fox")


async def test_generate_many_keeps_the_input_order(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(422, "content_policy_violation", kind="submit", nth=2))
    outcomes = await session.generate_many([FOX, ("blue", FOX), ImageRequest(""), FOX])
    assert [type(outcome) for outcome in outcomes] == [Completed, Failed, Failed, Completed]
    assert [outcome.key for outcome in outcomes] == ["0", "blue", "1", "2"]


async def test_generate_many_keeps_to_its_bound(session: ToapisSession, sim: Simulator) -> None:
    running = asyncio.create_task(session.generate_many([FOX] * 20, max_in_flight=3))
    await anyio.sleep(15)
    assert len(sim.charges) == 3
    assert len(await running) == 20


async def test_limits_and_pacing_hold_for_every_verb(sim: Simulator) -> None:
    limits = RateLimits(submit_per_second=1, submit_burst=1, query_per_second=2, query_burst=1)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, limits=limits) as session:
        started = anyio.current_time()
        task = await session.submit(FOX)
        await session.submit(FOX)
        assert anyio.current_time() - started >= 1
        started = anyio.current_time()
        for _ in range(5):
            await session.get(task.id)
        assert anyio.current_time() - started >= 2


async def test_the_key_is_cut_out_of_an_answer_to_a_question(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(400, "x", "no", headers={"X-Request-Id": f"for {sim.api_key}"}, kind="query"))
    with pytest.raises(ApiError) as caught:
        await session.get("tsk_img_nobody")
    assert caught.value.request_id == "for [key]"


async def test_generate_many_reads_async_iterables_and_empty_ones(session: ToapisSession) -> None:
    async def produce() -> AsyncIterator[ImageRequest]:
        yield FOX
        yield FOX

    assert len(await session.generate_many(produce())) == 2
    assert await session.generate_many([]) == []


@pytest.mark.parametrize("source", ["abc", FOX, {"a": FOX}, 7])
async def test_what_is_no_source_of_requests_is_refused(session: ToapisSession, source: Any, sim: Simulator) -> None:
    with pytest.raises(TypeError, match=r"requests: .*(iterable|\.items\(\))"):
        await session.generate_many(source)
    with pytest.raises(TypeError, match="requests: "):
        session.open_batch(source)
    assert not sim.requests


async def test_generate_many_reports_unsent_items_as_failed(sim: Simulator, session: ToapisSession) -> None:
    sim.add_fault(faults.error(402, "insufficient_quota", kind="submit", nth=3, times=None))
    outcomes = await session.generate_many([FOX] * 40, max_in_flight=2)
    assert sum(isinstance(outcome, Completed) for outcome in outcomes) == len(sim.charges) == 2
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert len(failed) == 38
    assert {type(outcome.error).__name__ for outcome in failed} == {"InsufficientBalanceError"}
    assert not session.unfinished


async def test_a_cancelled_generate_many_leaves_every_paid_task_in_the_session(
    sim: Simulator, session: ToapisSession
) -> None:
    task = asyncio.create_task(session.generate_many([FOX] * 40, max_in_flight=8))
    await sim.wait_for_requests("submit", 20)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    left = {unfinished.task_id for unfinished in session.unfinished}
    assert left == {charge.task_id for charge in sim.charges}
    assert len(left) >= 20


async def test_a_running_generate_many_is_unfinished(session: ToapisSession, sim: Simulator) -> None:
    running = asyncio.create_task(session.generate_many([FOX] * 3))
    await sim.wait_for_requests("submit", 3)
    await anyio.sleep(1)
    assert {left.task_id for left in session.unfinished} == {charge.task_id for charge in sim.charges}
    await running
    assert session.unfinished == ()
