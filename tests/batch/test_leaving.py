"""Leaving a batch, early or late, loses nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from batch.common import accepted, foxes

from toapis_async import (
    Batch,
    BatchClosed,
    ImageRequest,
    JobState,
    ToapisSession,
)
from toapis_async._watch import Watch
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio


def check_nothing_lost(batch: Batch, sim: Simulator, delivered: set[str | None]) -> None:
    """Every accepted task is delivered or unfinished, and none is both."""
    left = {job.task_id for job in batch.unfinished} - {None}
    assert delivered | left == accepted(sim)
    assert not delivered & left


async def test_break_loses_nothing(session: ToapisSession, sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    delivered: set[str | None] = set()
    async with session.open_batch(foxes(30), max_in_flight=10) as batch:
        async for outcome in batch:
            delivered.add(outcome.task_id)
            break
    check_nothing_lost(batch, sim, delivered)
    assert "Left a batch with" in caplog.text
    assert "session.wait" in caplog.text
    for job in batch.unfinished:
        assert (job.task_id in caplog.text) if job.task_id else (job.state is JobState.QUEUED)


async def test_what_certainly_was_not_accepted_is_not_named_when_a_batch_is_left(
    session: ToapisSession, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    sim.add_fault(faults.error(422, "content_policy_violation", kind="submit"))
    async with session.open_batch([ImageRequest(""), ImageRequest("refused")]) as batch:
        batch.attach("tsk_given")
        while batch.progress.failed < 2:
            await anyio.sleep(1)
    assert len(batch.unfinished) == 3
    assert caplog.messages[-1].endswith(": tsk_given")


async def test_leaving_a_batch_reads_no_answers(
    session: ToapisSession, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of tasks may be left in one step of the event loop."""
    task = await session.submit(ImageRequest("a red fox"))
    async with session.open_batch() as batch:
        job = batch.attach(task.id)
        await anyio.sleep(1)
        assert job.client_business_id == task.client_business_id  # it was seen
        reads: list[Watch] = []
        monkeypatch.setattr(Watch, "last", property(reads.append))
    assert not reads
    monkeypatch.undo()
    with pytest.raises(BatchClosed) as caught:
        await job.wait()
    assert caught.value.task is not None
    assert caught.value.client_business_id == task.client_business_id


async def test_an_exception_in_the_body_comes_out_as_it_is(session: ToapisSession, sim: Simulator) -> None:
    delivered: set[str | None] = set()
    batch = session.open_batch(foxes(30), max_in_flight=10)
    with pytest.raises(KeyError, match="mine") as caught:
        async with batch:
            async for outcome in batch:
                delivered.add(outcome.task_id)
                if len(delivered) == 3:
                    raise KeyError("mine") from ValueError("cause")
    assert isinstance(caught.value.__cause__, ValueError)
    check_nothing_lost(batch, sim, delivered)


async def test_a_consumer_that_is_cancelled_is_handed_nothing_more(session: ToapisSession, sim: Simulator) -> None:
    delivered: set[str | None] = set()
    async with session.open_batch(foxes(30)) as batch:
        while batch.progress.ended < 30:
            await anyio.sleep(1)
        with anyio.CancelScope() as scope:
            async for outcome in batch:
                delivered.add(outcome.task_id)
                if len(delivered) == 3:
                    scope.cancel()
        assert scope.cancelled_caught
    assert len(delivered) == 3
    check_nothing_lost(batch, sim, delivered)


@pytest.mark.parametrize("how", ["asyncio.timeout", "move_on_after", "cancel"])
async def test_cancellation_in_the_middle_loses_nothing(session: ToapisSession, sim: Simulator, how: str) -> None:
    delivered: set[str | None] = set()
    batch = session.open_batch(foxes(60), max_in_flight=20)

    async def run() -> None:
        async with batch:
            async for outcome in batch:
                delivered.add(outcome.task_id)

    if how == "asyncio.timeout":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await run()
    elif how == "move_on_after":
        with anyio.move_on_after(30) as scope:
            await run()
        assert scope.cancelled_caught
    else:
        task = asyncio.create_task(run())
        await sim.wait_for_requests("submit", 25)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    check_nothing_lost(batch, sim, delivered)
    assert batch.unfinished


async def test_leaving_while_requests_are_on_their_way_finishes_them(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.delay(10, when="after", kind="submit", times=None))
    async with session.open_batch(foxes(5)) as batch:
        await sim.wait_for_requests("submit", 5)
    assert len(batch.unfinished) == 5
    assert {job.task_id for job in batch.unfinished} == accepted(sim)
    assert {job.state for job in batch.unfinished} == {JobState.SUBMITTED}


async def test_leaving_stops_sending(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(foxes(100)) as batch:
        await sim.wait_for_requests("submit", 7)
    sent = len(sim.charges)
    assert sent < 40
    await anyio.sleep(100)
    assert len(sim.charges) == sent
    states = [job.state for job in batch.unfinished]
    assert states.count(JobState.SUBMITTED) == sent


async def test_ended_but_undelivered_jobs_are_unfinished(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(foxes(3)) as batch:
        jobs = batch.unfinished or ()
        await anyio.sleep(60)
        jobs = batch.unfinished
        assert await jobs[0].wait()
    assert len(jobs) == 3
    assert batch.unfinished == jobs[1:]
    assert all(job.outcome is not None for job in batch.unfinished)


async def test_after_leaving_nothing_more_goes_in_or_out(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.never_finishes(times=None))
    async with session.open_batch(foxes(1)) as batch:
        await sim.wait_for_requests("submit", 1)
        waiting = asyncio.create_task(batch.unfinished[0].wait())
        consumer = asyncio.create_task(anext(batch))
        await anyio.sleep(1)
    for task in (waiting, consumer):
        with pytest.raises(BatchClosed):
            await task
    with pytest.raises(BatchClosed) as caught:
        await batch.unfinished[0].wait()
    assert caught.value.task_id in accepted(sim)
    for use in (lambda: batch.submit(ImageRequest("fox")), lambda: batch.feed([]), lambda: batch.attach("x")):
        with pytest.raises(BatchClosed):
            use()
    with pytest.raises(BatchClosed):
        await anext(batch)


async def test_drain_finishes_what_was_sent_and_sends_no_more(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(foxes(100), on_exit="drain") as batch:
        await sim.wait_for_requests("submit", 7)
    ended = [job for job in batch.unfinished if job.outcome is not None]
    assert len(ended) == len(sim.charges) < 40
    assert {job.state for job in ended} == {JobState.COMPLETED}


async def test_drain_does_not_outlive_an_exception(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.never_finishes(times=None))
    started = anyio.current_time()
    with pytest.raises(KeyError):
        async with session.open_batch(foxes(3), on_exit="drain"):
            await sim.wait_for_requests("submit", 3)
            raise KeyError
    assert anyio.current_time() - started < 10


def own_tasks() -> set[Any]:
    """All tasks but those in which the simulator serves a connection."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task)}


async def test_drain_ends_when_a_request_on_its_way_is_refused(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.delay(1, when="before", kind="submit", times=None))
    sim.add_fault(faults.throttle(kind="submit", times=None))
    with anyio.fail_after(100):
        async with session.open_batch(foxes(1), on_exit="drain") as batch:
            await anyio.sleep(0.5)
    assert [job.state for job in batch.unfinished] == [JobState.QUEUED]


async def test_no_task_outlives_its_batch(session: ToapisSession) -> None:
    before = own_tasks()
    async with session.open_batch(foxes(10)) as batch:
        async for _ in batch:
            break
    assert own_tasks() == before
