"""The record of a paid request: it keeps no more than needed, for no longer, and gives errors the right handle."""

from __future__ import annotations

import contextlib
import gc

import anyio
import pytest

from toapis_async import BatchClosed, ContentRejectedError, ImageRequest, JobState, RateLimits, ToapisSession
from toapis_async._protocol.endpoints import Ambiguous
from toapis_async._submission import Submission
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")
FAST = RateLimits(submit_per_second=1000, submit_burst=200, query_per_second=1000, query_burst=200)


def records() -> list[Submission]:
    return [thing for thing in gc.get_objects() if isinstance(thing, Submission)]


def record_of(request: ImageRequest) -> Submission:
    (record,) = [record for record in records() if record.request is request]
    return record


async def test_an_accepted_request_keeps_no_copy_of_its_body(session: ToapisSession, sim: Simulator) -> None:
    request = ImageRequest("a fox of its own")
    async with session.open_batch([request]) as batch:
        await sim.wait_for_requests("submit", 1)
        await anyio.sleep(1)
        assert batch.progress.running == 1
        assert record_of(request).wire is None


async def test_a_lost_answer_keeps_no_frames(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="before", kind="submit"))
    request = ImageRequest("a fox of its own")
    async with session.open_batch([request]):
        await anyio.sleep(20)
        reply = record_of(request).reply
        assert isinstance(reply, Ambiguous)
        assert reply.error.__traceback__ is None


async def test_an_error_of_a_request_that_was_not_taken_names_no_id(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(422, "content_policy_violation", kind="submit", times=2))
    with pytest.raises(ContentRejectedError) as caught:
        await session.submit(FOX)
    (outcome,) = await session.generate_many([FOX])
    with pytest.raises(ContentRejectedError) as delivered:
        outcome.unwrap()
    for error in (caught.value, delivered.value):
        assert error.task_id is None
        assert error.client_business_id is None
        assert error.model == FOX.model


async def test_a_job_that_was_never_sent_names_no_id_when_its_batch_is_left(session: ToapisSession) -> None:
    async with session.open_batch(max_in_flight=1) as batch:
        batch.submit(FOX)
        job = batch.submit(FOX)
        await anyio.sleep(1)
    assert job.state is JobState.QUEUED
    with pytest.raises(BatchClosed) as caught:
        await job.wait()
    assert caught.value.task_id is None
    assert caught.value.client_business_id is None
    assert "session.wait" not in str(caught.value)


async def test_finished_jobs_are_freed_without_the_collector(sim: Simulator) -> None:
    gc.collect()
    before = len(records())
    gc.disable()
    try:
        async with (
            ToapisSession(sim.api_key, base_url=sim.base_url, limits=FAST) as session,
            session.open_batch([FOX] * 150) as batch,
        ):
            async for _ in batch:
                pass
            assert len(records()) - before <= 1  # the last one, in the worker that ended it
    finally:
        gc.enable()


async def test_a_cancelled_generate_many_keeps_only_what_may_be_paid(session: ToapisSession, sim: Simulator) -> None:
    gc.collect()
    before = len(records())
    sim.add_fault(faults.error(422, "content_policy_violation", kind="submit"))
    with contextlib.suppress(TimeoutError), anyio.fail_after(5):
        await session.generate_many([FOX] * 3)
    gc.collect()
    assert len(records()) - before == len(session.unfinished) == len(sim.charges) == 2
