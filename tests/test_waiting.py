"""A wait over real sockets: when it looks, when it gives up, and what it shows and announces."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest
from attrs import evolve

from toapis_async import (
    Backoff,
    ImageRequest,
    JobState,
    PollDeadlineExceeded,
    RateLimits,
    SubmissionUnknown,
    TaskStatus,
    ToapisSession,
)
from toapis_async.instrumentation import Event, TaskEnded
from toapis_async.testing import Reply, Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")


async def test_the_last_look_gets_two_seconds(session: ToapisSession, sim: Simulator) -> None:
    task = await session.submit(FOX)
    await anyio.sleep(30)
    sim.add_fault(faults.delay(1.5, when="after", kind="query", times=None))
    assert (await session.wait(task.id, poll=Backoff(deadline=0.2))).status is TaskStatus.COMPLETED


async def test_a_queue_in_front_of_the_service_does_not_delay_a_deadline(sim: Simulator) -> None:
    async def wait(session: ToapisSession, task_id: str) -> None:
        started = anyio.current_time()
        with pytest.raises(PollDeadlineExceeded):
            await session.wait(task_id, poll=Backoff(deadline=20))
        assert 20 <= anyio.current_time() - started <= 23

    sim.add_fault(faults.never_finishes())
    limits = RateLimits(query_per_second=0.1, query_burst=1)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, limits=limits) as session:
        task = await session.submit(FOX)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(wait, session, task.id)


async def test_the_age_of_a_session_does_not_count_towards_a_deadline(session: ToapisSession) -> None:
    await anyio.sleep(10_000)
    assert (await session.generate(FOX, poll=Backoff(deadline=60))).status is TaskStatus.COMPLETED


async def test_a_look_up_looks_often_in_its_window(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="before", kind="submit"))
    with pytest.raises(SubmissionUnknown):
        await session.submit(FOX)
    looks = [record.at for record in sim.requests if record.kind == "query"]
    assert len(looks) >= 8
    assert max(after - before for before, after in pairwise(looks)) <= 11.5


async def test_watch_shows_a_change_of_billing_alone(session: ToapisSession, sim: Simulator) -> None:
    bills = iter([None, {"status": "pending"}, {"status": "pending"}])

    def bill(body: dict[str, object]) -> object:
        return {**body, "progress": 10, "billing": next(bills, {"status": "settled", "credits": "4"})}

    sim.add_fault(faults.lasts(1000))
    sim.add_fault(faults.respell(lambda _: "in_progress", kind="query", times=None))
    sim.add_fault(faults.edit_json(bill, kind="query", times=None))
    task = await session.submit(FOX)
    shown: list[str | None] = []
    with anyio.fail_after(100):
        async for snapshot in session.watch(task.id):
            shown.append(snapshot.billing.status if snapshot.billing else None)
            if len(shown) == 3:
                break
    assert shown == [None, "pending", "settled"]


async def test_a_deadline_is_announced_as_such(sim: Simulator) -> None:
    heard: list[Event] = []
    sim.add_fault(faults.never_finishes())
    async with ToapisSession(sim.api_key, base_url=sim.base_url, observers=[heard.append]) as session:
        with pytest.raises(PollDeadlineExceeded):
            await session.generate(FOX, poll=Backoff(deadline=5))
    assert [event.state for event in heard if isinstance(event, TaskEnded)] == [JobState.TIMED_OUT]


@pytest.mark.parametrize("hint", [None, "20"])
async def test_a_hint_is_heeded_on_an_answer_that_says_nothing_new(
    session: ToapisSession, sim: Simulator, hint: str | None
) -> None:
    def add(reply: Reply) -> Reply:
        return evolve(reply, headers={**reply.headers, "Retry-After": hint} if hint else reply.headers)

    task = await session.submit(ImageRequest("a red fox"))
    sim.add_fault(faults.transform(add, kind="query", nth=3))
    await session.wait(task.id, poll=Backoff(initial=2, factor=1, jitter=0))
    times = [record.at for record in sim.requests if record.kind == "query"]
    assert times[3] - times[2] == pytest.approx(20 if hint else 2, abs=0.2)
