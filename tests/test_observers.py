"""What observers hear of an end: every job and single call for which something was sent, once, with its state."""

from __future__ import annotations

import anyio
import pytest

from toapis_async import (
    Backoff,
    ContentRejectedError,
    GenerationFailed,
    ImageRequest,
    InvalidRequestError,
    JobState,
    PollDeadlineExceeded,
    RetryPolicy,
    SubmissionUnknown,
    ToapisError,
    ToapisSession,
)
from toapis_async.instrumentation import Event, TaskEnded
from toapis_async.testing import FAIL_MARKER, REJECT_MARKER, Simulator, faults
from toapis_async.testing.pictures import draw

pytestmark = pytest.mark.anyio

PROMPTS = {
    JobState.COMPLETED: "a red fox",
    JobState.FAILED: f"{FAIL_MARKER} fox",
    JobState.TIMED_OUT: "a slow fox",
    JobState.UNRESOLVED: "a lost fox",
}


async def watching(sim: Simulator, heard: list[TaskEnded]) -> ToapisSession:
    def note(event: Event) -> None:
        if isinstance(event, TaskEnded):
            heard.append(event)

    sim.add_fault(
        faults.drop(
            when="before",
            kind="submit",
            match=lambda subject: subject.prompt == PROMPTS[JobState.UNRESOLVED],
            times=None,
        )
    )
    sim.add_fault(faults.never_finishes(match=lambda subject: subject.prompt == PROMPTS[JobState.TIMED_OUT]))
    return ToapisSession(
        sim.api_key,
        base_url=sim.base_url,
        observers=[note],
        poll=Backoff(deadline=100),
        retry=RetryPolicy(lookup_window=20),
    )


async def test_the_end_of_every_job_is_heard_once(sim: Simulator) -> None:
    heard: list[TaskEnded] = []
    async with await watching(sim, heard) as session:
        requests = [ImageRequest(prompt) for prompt in PROMPTS.values()]
        outcomes = await session.generate_many([*requests, ImageRequest(f"{REJECT_MARKER} fox"), ImageRequest("")])
    states = [outcome.state for outcome in outcomes]
    assert states == [*PROMPTS, JobState.FAILED, JobState.FAILED]
    sent = {(outcome.state, outcome.task_id) for outcome in outcomes[:-1]}  # the last one was not even sent
    assert len(heard) == 5
    assert {(event.state, event.task_id) for event in heard} == sent


@pytest.mark.parametrize(
    ("prompt", "error", "state"),
    [
        (PROMPTS[JobState.FAILED], GenerationFailed, JobState.FAILED),
        (PROMPTS[JobState.TIMED_OUT], PollDeadlineExceeded, JobState.TIMED_OUT),
        (PROMPTS[JobState.UNRESOLVED], SubmissionUnknown, JobState.UNRESOLVED),
        (f"{REJECT_MARKER} fox", ContentRejectedError, JobState.FAILED),
    ],
)
async def test_the_end_of_a_single_call_is_heard_once(
    sim: Simulator, prompt: str, error: type[ToapisError], state: JobState
) -> None:
    heard: list[TaskEnded] = []
    async with await watching(sim, heard) as session:
        with pytest.raises(error):
            await session.generate(ImageRequest(prompt))
    (event,) = heard
    assert event.state is state
    assert (event.task_id is None) == (not sim.charges)


async def test_the_end_of_a_request_whose_picture_is_refused_is_heard_once(sim: Simulator) -> None:
    heard: list[TaskEnded] = []
    sim.add_fault(faults.error(400, "", "Unsupported image type", shape="success", kind="upload", times=None))
    request = ImageRequest("a red fox", images=[draw("a cat", 0)])
    async with await watching(sim, heard) as session:
        with pytest.raises(InvalidRequestError):
            await session.generate(request)
        (outcome,) = await session.generate_many([request])
    assert outcome.state is JobState.FAILED
    assert [event.state for event in heard] == [JobState.FAILED] * 2


async def test_the_end_of_a_watch_is_heard_once(sim: Simulator) -> None:
    heard: list[TaskEnded] = []
    async with await watching(sim, heard) as session:
        task = await session.submit(ImageRequest("a red fox"))
        assert not heard
        with anyio.fail_after(100):
            looks = len([snapshot async for snapshot in session.watch(task.id)])
    (event,) = heard
    assert (event.state, event.task_id) == (JobState.COMPLETED, task.id)
    assert event.looks >= looks
