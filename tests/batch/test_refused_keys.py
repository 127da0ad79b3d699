"""A closed intake: what runs is delivered, then everybody gets the error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest
from batch.common import accepted, drain, foxes

from toapis_async import (
    AuthenticationError,
    Batch,
    BatchClosed,
    Failed,
    ImageRequest,
    InsufficientBalanceError,
    JobState,
    ToapisSession,
)
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "refusal", [(401, "unauthorized"), (402, "insufficient_quota"), (403, "x"), (200, "insufficient_quota")], ids=str
)
async def test_a_refusal_of_everything_closes_the_intake(
    session: ToapisSession, sim: Simulator, refusal: tuple[int, str]
) -> None:
    sim.add_fault(faults.error(*refusal, kind="submit", nth=4, times=None))
    delivered: set[str | None] = set()
    batch = session.open_batch(foxes(50))
    with pytest.raises(Exception, match="simulated") as caught:
        async with batch:
            async for outcome in batch:
                delivered.add(outcome.task_id)
    assert type(caught.value).__name__ in {
        "AuthenticationError", "InsufficientBalanceError", "PermissionDeniedError",
    }  # fmt: skip
    assert delivered == accepted(sim)
    assert len(delivered) == 3
    assert {job.state for job in batch.unfinished} == {JobState.QUEUED}
    for job in batch.unfinished:
        with pytest.raises(type(caught.value)):
            await job.wait()


async def test_refusals_that_arrive_together_close_it_once(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.delay(1, when="before", kind="submit", times=None))
    sim.add_fault(faults.error(401, "unauthorized", kind="submit", times=None))
    batch = session.open_batch(foxes(30))
    with anyio.fail_after(600), pytest.raises(AuthenticationError):
        async with batch:
            await drain(batch)
    assert len(batch.unfinished) == 30
    assert {job.state for job in batch.unfinished} == {JobState.QUEUED}


async def test_every_consumer_and_the_scope_learn_of_a_closed_intake(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(402, "insufficient_quota", kind="submit", nth=4, times=None))
    async with session.open_batch(foxes(50)) as batch:
        consumers = [asyncio.create_task(drain(batch)) for _ in range(2)]
        await asyncio.wait(consumers)
        for consumer in consumers:
            assert isinstance(consumer.exception(), InsufficientBalanceError)
        with pytest.raises(BatchClosed, match="sends nothing more") as caught:
            batch.submit(ImageRequest("fox"))
        assert isinstance(caught.value.__cause__, InsufficientBalanceError)
    with pytest.raises(InsufficientBalanceError):
        async with session.open_batch(foxes(50)) as batch:
            await anyio.sleep(60)


async def test_a_source_that_raises_closes_the_intake_with_its_error(session: ToapisSession, sim: Simulator) -> None:
    def broken() -> Iterator[ImageRequest]:
        yield from foxes(3)
        raise OSError("the disk is gone")

    delivered: set[str | None] = set()
    batch = session.open_batch(broken())
    with pytest.raises(OSError, match="the disk is gone"):
        async with batch:
            async for outcome in batch:
                delivered.add(outcome.task_id)
    assert delivered == accepted(sim)
    assert {job.state for job in batch.unfinished} <= {JobState.QUEUED}


async def test_a_source_that_is_cancelled_from_inside_closes_the_intake(session: ToapisSession) -> None:
    async def source() -> AsyncIterator[ImageRequest]:
        for request in foxes(3):
            yield request
        helper = asyncio.create_task(anyio.sleep(100))
        helper.cancel()
        await helper

    with anyio.fail_after(1000), pytest.raises(RuntimeError, match="cancelled from inside"):
        async with session.open_batch(source()) as batch:
            await drain(batch)


async def test_a_quiet_source_that_is_cancelled_from_inside_is_not_taken_for_ended(session: ToapisSession) -> None:
    async def source() -> AsyncIterator[ImageRequest]:
        for number, request in enumerate(foxes(10)):
            await anyio.sleep(100)
            if number == 3:
                raise asyncio.CancelledError
            yield request

    delivered: list[str] = []
    with anyio.fail_after(10_000), pytest.raises(RuntimeError, match="cancelled from inside"):
        async with session.open_batch(source()) as batch:
            async for outcome in batch:
                delivered.append(outcome.key)  # noqa: PERF401 - what came before the error counts
    assert delivered == ["0", "1", "2"]


@pytest.mark.parametrize("worker", ["look_forever", "_send_forever"])
async def test_a_worker_that_is_killed_is_told(session: ToapisSession, worker: str) -> None:
    batch = session.open_batch(foxes(3))
    with anyio.fail_after(1000), pytest.raises(RuntimeError, match="cancelled from outside"):
        async with batch:
            await anyio.sleep(1)
            next(task for task in asyncio.all_tasks() if worker in repr(task)).cancel()
            await drain(batch)
            await anyio.sleep(100)


@pytest.mark.parametrize("steps", range(8))
async def test_a_batch_that_is_being_drained_takes_nothing_more(
    session: ToapisSession, sim: Simulator, steps: int
) -> None:
    taken: list[str] = []

    async def late(batch: Batch, leaving: anyio.Event) -> None:
        await leaving.wait()
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        for take in (lambda: batch.feed(foxes(3)), lambda: batch.submit(ImageRequest("fox"))):
            try:
                take()
            except BatchClosed:
                continue
            taken.append("taken")

    leaving = anyio.Event()
    with anyio.fail_after(1000):
        async with anyio.create_task_group() as group, session.open_batch(foxes(1), on_exit="drain") as batch:
            group.start_soon(late, batch, leaving)
            await sim.wait_for_requests("submit", 1)
            leaving.set()
    assert len(taken) == 2 if steps == 0 and taken else not taken


async def test_a_batch_is_entered_once_even_by_two_at_once(session: ToapisSession) -> None:
    batch = session.open_batch(foxes(2))

    async def use() -> int:
        async with batch:
            return len(await drain(batch))

    first, second = await asyncio.gather(use(), use(), return_exceptions=True)
    assert first == 2
    assert isinstance(second, RuntimeError)


async def test_a_source_whose_length_raises_is_told(session: ToapisSession) -> None:
    class Odd(list[ImageRequest]):
        def __len__(self) -> int:
            raise OSError("no length")

    batch = session.open_batch(Odd())
    with pytest.raises(OSError, match="no length"):
        async with batch:
            pytest.fail("never entered")
    with pytest.raises(BatchClosed):
        batch.submit(ImageRequest("fox"))


async def test_a_page_of_a_gateway_does_not_close_the_intake(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.gateway_page(403, when="before", kind="submit"))
    async with session.open_batch(foxes(4)) as batch:
        outcomes = [outcome async for outcome in batch]
    assert sum(isinstance(outcome, Failed) for outcome in outcomes) == 1
    assert len(sim.charges) == 3


async def test_one_request_that_the_key_may_not_make_fails_alone(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(403, "modelNotAllowed", kind="submit", nth=2))
    async with session.open_batch(foxes(4)) as batch:
        outcomes = [outcome async for outcome in batch]
    assert sum(isinstance(outcome, Failed) for outcome in outcomes) == 1
    assert len(sim.charges) == 3
