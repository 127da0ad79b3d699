"""`session.unfinished`: a task leaves it when somebody learns how it ended, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from toapis_async import Backoff, GenerationTask, ImageRequest, ToapisSession, UnfinishedTask
from toapis_async.testing import Simulator

pytestmark = pytest.mark.anyio


async def leave_one(session: ToapisSession, sim: Simulator) -> UnfinishedTask:
    generating = asyncio.create_task(session.generate(ImageRequest("a red fox")))
    await sim.wait_for_requests("query", 1)
    generating.cancel()
    await asyncio.wait([generating])
    (left,) = session.unfinished
    assert left.request.prompt == "a red fox"
    return left


async def by_wait(session: ToapisSession, task_id: str) -> GenerationTask:
    return await session.wait(task_id)


async def by_watch(session: ToapisSession, task_id: str) -> GenerationTask:
    return [snapshot async for snapshot in session.watch(task_id)][-1]


async def by_get(session: ToapisSession, task_id: str) -> GenerationTask:
    await asyncio.sleep(60)
    return await session.get(task_id)


async def by_attaching(session: ToapisSession, task_id: str) -> GenerationTask:
    async with session.open_batch() as batch:
        return (await batch.attach(task_id).wait()).unwrap()


async def by_attaching_and_leaving(session: ToapisSession, task_id: str) -> GenerationTask:
    async with session.open_batch() as batch:
        job = batch.attach(task_id)
        await asyncio.sleep(60)
    assert batch.unfinished == (job,)
    assert job.outcome
    return job.outcome.unwrap()


@pytest.mark.parametrize("learn", [by_wait, by_watch, by_get, by_attaching, by_attaching_and_leaving])
@pytest.mark.parametrize("name", ["task_id", "client_business_id"])
async def test_whoever_learns_the_end_takes_it_off_the_list(
    session: ToapisSession,
    sim: Simulator,
    learn: Callable[[ToapisSession, str], Coroutine[Any, Any, GenerationTask]],
    name: str,
) -> None:
    left = await leave_one(session, sim)
    task = await learn(session, getattr(left, name))
    assert task.id == left.task_id
    assert task.images
    assert session.unfinished == ()


async def test_whoever_learns_nothing_leaves_it_on_the_list(session: ToapisSession, sim: Simulator) -> None:
    left = await leave_one(session, sim)
    await session.get(left.resume_id)
    with pytest.raises(TimeoutError):
        await session.wait(left.resume_id, poll=Backoff(deadline=1))
    async with session.open_batch(poll=Backoff(deadline=1)) as batch:
        await batch.attach(left.resume_id).wait()
    async for _ in session.watch(left.resume_id):
        break
    assert session.unfinished == (left,)
