"""Every job of a batch has one outcome, in the order in which tasks end."""

from __future__ import annotations

import pytest
from batch.common import accepted, drain, foxes

from toapis_async import (
    Backoff,
    Completed,
    GenerationFailed,
    ImageRequest,
    NotFoundError,
    PollDeadlineExceeded,
    SubmissionUnknown,
    ToapisSession,
    Unresolved,
)
from toapis_async.testing import FAIL_MARKER, REJECT_MARKER, Simulator, faults

pytestmark = pytest.mark.anyio


async def test_every_request_has_one_outcome(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(foxes(60)) as batch:
        keys = await drain(batch)
    assert sorted(keys, key=int) == [str(number) for number in range(60)]
    assert len(sim.charges) == 60
    assert batch.unfinished == ()


async def test_an_empty_batch_ends_at_once(session: ToapisSession) -> None:
    async with session.open_batch() as batch:
        assert await drain(batch) == []
        assert await drain(batch) == []
    assert batch.progress.total == 0


async def test_outcomes_come_in_the_order_in_which_tasks_end(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.lasts(100, match="slow"))
    async with session.open_batch([ImageRequest("slow"), ImageRequest("quick")]) as batch:
        assert await drain(batch) == ["1", "0"]


async def test_each_kind_of_end_is_an_outcome_of_its_own(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="before", kind="submit", match="lost", times=None))
    sim.add_fault(faults.never_finishes(match="endless"))
    sim.add_fault(faults.urls_missing(float("inf"), match="empty"))
    requests = {
        "good": ImageRequest("good"),
        "fails": ImageRequest(f"x {FAIL_MARKER}"),
        "rejected": ImageRequest(f"x {REJECT_MARKER}"),
        "invalid": ImageRequest("x", n=3),
        "lost": ImageRequest("lost"),
        "endless": ImageRequest("endless"),
        "empty": ImageRequest("empty"),
    }
    async with session.open_batch(requests.items(), poll=Backoff(deadline=200)) as batch:
        outcomes = {outcome.key: outcome async for outcome in batch}
        progress = batch.progress
    kinds = {key: type(outcome).__name__ for key, outcome in outcomes.items()}
    assert kinds == {
        "good": "Completed",
        "fails": "Failed",
        "rejected": "Failed",
        "invalid": "Failed",
        "lost": "Unresolved",
        "endless": "TimedOut",
        "empty": "Unresolved",
    }
    assert (progress.completed, progress.failed, progress.timed_out, progress.unresolved) == (1, 3, 1, 2)
    assert progress.ended == progress.total == 7
    assert outcomes["good"].unwrap().images
    for key, error in (("fails", GenerationFailed), ("lost", SubmissionUnknown), ("endless", PollDeadlineExceeded)):
        with pytest.raises(error) as caught:
            outcomes[key].unwrap()
        assert caught.value.client_business_id == outcomes[key].client_business_id is not None
    assert outcomes["endless"].task_id in accepted(sim)
    assert outcomes["lost"].task_id is None


async def test_a_lost_answer_is_found_and_delivered_as_usual(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="after", kind="submit", times=None, probability=0.5))
    async with session.open_batch(foxes(40)) as batch:
        outcomes = [outcome async for outcome in batch]
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert len(sim.charges) == 40
    assert {outcome.task_id for outcome in outcomes} == accepted(sim)


async def test_attached_tasks_are_waited_for_and_cost_nothing(session: ToapisSession, sim: Simulator) -> None:
    tasks = [await session.submit(request) for request in foxes(5)]
    async with session.open_batch() as batch:
        jobs = [batch.attach(task.id, key=f"old-{task.id}") for task in tasks]
        ghost = batch.attach("tsk_img_nobody")
        outcomes = {outcome.key: outcome async for outcome in batch}
    assert len(sim.charges) == 5
    assert all(isinstance(outcomes[f"old-{task.id}"], Completed) for task in tasks)
    assert isinstance(outcomes[ghost.key], Unresolved)
    assert [job.task_id for job in jobs] == [task.id for task in tasks]
    assert [job.client_business_id for job in jobs] == [charge.client_business_id for charge in sim.charges]
    with pytest.raises(NotFoundError):
        outcomes[ghost.key].unwrap()
