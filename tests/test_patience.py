"""Reading is free and patient: nothing that happens to a question ends a wait before its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import pytest

from toapis_async import (
    Backoff,
    Completed,
    ImageRequest,
    Outcome,
    RateLimitedError,
    RateLimits,
    TaskStatus,
    TimedOut,
    ToapisSession,
)
from toapis_async.testing import Fault, Reply, Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")

Make = Callable[[int | None], Fault]
FAULTS: dict[str, Make] = {
    "429 seconds": lambda times: faults.throttle(2, kind="query", times=times),
    "429 date": lambda times: faults.throttle(2, as_date=True, kind="query", times=times),
    "429 bare": lambda times: faults.throttle(None, kind="query", times=times),
    "429 absurd": lambda times: faults.throttle("soon", kind="query", times=times),
    "429 negative": lambda times: faults.throttle(-5, kind="query", times=times),
    "500": lambda times: faults.error(500, "internal_error", kind="query", times=times),
    "502": lambda times: faults.gateway_page(502, when="before", kind="query", times=times),
    "503": lambda times: faults.error(503, "model_not_found", kind="query", times=times),
    "504": lambda times: faults.gateway_page(504, when="before", kind="query", times=times),
    "400": lambda times: faults.error(400, "invalid_request", kind="query", times=times),
    "402": lambda times: faults.error(402, "insufficient_quota", kind="query", times=times),
    "422": lambda times: faults.error(422, "content_policy_violation", kind="query", times=times),
    "HTML 200": lambda times: faults.gateway_page(200, when="before", kind="query", times=times),
    "HTML 404": lambda times: faults.gateway_page(404, when="before", kind="query", times=times),
    "redirect": lambda times: faults.redirect("http://127.0.0.1:9/", kind="query", times=times),
    "panic 200": lambda times: faults.panic(200, when="before", kind="query", times=times),
    "panic 404": lambda times: faults.panic(404, when="before", kind="query", times=times),
    "error in 200": lambda times: faults.error(200, "task_not_exist", kind="query", times=times),
    "success false": lambda times: faults.error(200, "x", shape="success", kind="query", times=times),
    "no JSON": lambda times: faults.truncate(kind="query", times=times),
    "empty": lambda times: faults.reply_with(Reply(), when="before", kind="query", times=times),
    "list": lambda times: faults.reply_with(Reply(body=b"[]"), when="before", kind="query", times=times),
    "wrong gzip": lambda times: faults.reply_with(
        Reply(body=b"{}", headers={"Content-Encoding": "gzip"}), when="before", kind="query", times=times
    ),
    "20 MB": lambda times: faults.oversize(20_000_000, kind="query", times=min(times or 3, 3)),
    "reset": lambda times: faults.drop(when="before", kind="query", times=times),
    "closed": lambda times: faults.drop(when="before", reset=False, kind="query", times=times),
    "hanging": lambda times: faults.hang(when="before", kind="query", times=times),
    "cut": lambda times: faults.cut(10, kind="query", times=times),
    "stalled": lambda times: faults.dribble(5, float("inf"), kind="query", times=times),
}


@pytest.mark.parametrize("times", [1, 50])
@pytest.mark.parametrize("name", FAULTS)
async def test_a_failed_question_is_asked_again(session: ToapisSession, sim: Simulator, name: str, times: int) -> None:
    sim.add_fault(FAULTS[name](times))
    task = await session.generate(FOX, poll=Backoff(deadline=50_000))
    assert task.status is TaskStatus.COMPLETED
    assert len(sim.charges) == 1


@pytest.mark.parametrize("name", FAULTS)
async def test_a_failure_that_lasts_for_minutes_is_sat_out(session: ToapisSession, sim: Simulator, name: str) -> None:
    async def mend() -> None:
        await anyio.sleep(600)
        sim.clear_faults()

    outcomes: list[Outcome] = []
    sim.add_fault(FAULTS[name](None))
    async with anyio.create_task_group() as group:
        group.start_soon(mend)
        outcomes += await session.generate_many([FOX] * 10)
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert len(sim.charges) == 10


async def test_a_refused_key_for_less_than_ten_seconds_is_sat_out(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(401, "unauthorized", kind="query", times=2))
    assert (await session.generate(FOX)).status is TaskStatus.COMPLETED


@pytest.mark.parametrize("rate", [0.05, 0.9])
async def test_deadlines_hold_where_questions_are_scarce(sim: Simulator, rate: float) -> None:
    limits = RateLimits(submit_per_second=1000, submit_burst=200, query_per_second=rate, query_burst=1)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, limits=limits) as session:
        sim.add_fault(faults.never_finishes(times=None))
        started = anyio.current_time()
        outcomes = await session.generate_many([FOX] * 100, poll=Backoff(deadline=120))
        assert anyio.current_time() - started < 120 + 2 + 1 / rate + 1
    assert {type(outcome) for outcome in outcomes} == {TimedOut}


async def test_one_question_that_waits_through_a_pause_holds_up_no_deadline(
    session: ToapisSession, sim: Simulator
) -> None:
    sim.add_fault(faults.throttle(290, kind="query"))
    task = await session.submit(FOX)
    with pytest.raises(RateLimitedError):
        await session.get(task.id)
    patient = asyncio.create_task(session.get(task.id))
    await anyio.sleep(1)
    started = anyio.current_time()
    outcomes = await session.generate_many([FOX] * 3, poll=Backoff(deadline=60))
    assert anyio.current_time() - started < 63
    assert {type(outcome) for outcome in outcomes} == {TimedOut}
    assert (await patient).id == task.id


async def test_a_lost_answer_is_looked_up_however_long_the_queue(sim: Simulator) -> None:
    limits = RateLimits(submit_per_second=1000, submit_burst=1000, query_per_second=5, query_burst=5)
    sim.add_fault(faults.drop(when="after", kind="submit", match=lambda subject: subject.prompt == "lost"))
    sim.add_fault(faults.never_finishes(match=lambda subject: subject.prompt != "lost", times=None))
    async with (
        ToapisSession(sim.api_key, base_url=sim.base_url, limits=limits) as session,
        session.open_batch([ImageRequest("busy")] * 500, max_in_flight=1000) as batch,
    ):
        await sim.wait_for_requests("submit", 500)
        await anyio.sleep(100)
        lost = batch.submit(ImageRequest("lost"))
        assert isinstance(await lost.wait(), Completed)
    assert len(sim.charges) == 501
