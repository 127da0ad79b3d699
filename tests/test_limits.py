"""Thousands of tasks at once, with the documented limits on at the service: no window is broken, no wait is lost."""

from __future__ import annotations

from bisect import bisect_left

import anyio
import pytest

from toapis_async import (
    AdaptiveBackoff,
    Backoff,
    Completed,
    ImageRequest,
    RateLimitedError,
    RateLimits,
    RetryPolicy,
    ToapisSession,
)
from toapis_async._http.dispatch import Dispatcher
from toapis_async._protocol.endpoints import build_query
from toapis_async._protocol.messages import HttpRequest, HttpResponse
from toapis_async._schedule.pacer import Pacer
from toapis_async.instrumentation import Announcer
from toapis_async.testing import GroupLimits, Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")
TENTH = GroupLimits(submit_per_minute=30, submit_per_10s=5, query_per_minute=300, query_per_10s=50)


def times(sim: Simulator, kind: str) -> list[float]:
    return sorted(record.at for record in sim.requests if record.kind == kind)


def most_in(moments: list[float], seconds: float) -> int:
    return max(bisect_left(moments, start + seconds) - number for number, start in enumerate(moments))


async def attach_and_wait(session: ToapisSession, count: int, poll: AdaptiveBackoff) -> None:
    """Wait for `count` tasks from the same moment on."""
    ids = [(await session.submit(FOX)).id for _ in range(10)]
    async with session.open_batch(poll=poll) as batch:
        for number in range(count):
            batch.attach(ids[number % 10])
        outcomes = [outcome async for outcome in batch]
    assert sum(isinstance(outcome, Completed) for outcome in outcomes) == count


@pytest.mark.parametrize("count", [1000, 3000, 10_000])
async def test_thousands_of_waits_that_begin_together_break_no_limit(count: int) -> None:
    async with (
        Simulator(limits="default", durations=90.0) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url) as session,
    ):
        await attach_and_wait(session, count, AdaptiveBackoff())
        moments = times(sim, "query")
        assert {record.status for record in sim.requests} == {200}
        assert most_in(moments, 0.1) <= 25
        assert most_in(moments, 10) <= 500
        assert most_in(moments, 60) <= 3000
        assert len(moments) <= 8 * count


async def test_with_a_tenth_of_the_limits_refusals_are_few_and_nothing_is_lost() -> None:
    async with (
        Simulator(limits=TENTH, durations=90.0) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url) as session,
    ):
        await attach_and_wait(session, 3000, AdaptiveBackoff(deadline=36_000))
        refused = sum(record.status == 429 for record in sim.requests)
        assert refused <= 0.1 * len(sim.requests)


async def test_no_weather_loses_one_of_a_thousand_waits(session: ToapisSession, sim: Simulator) -> None:
    for fault in (
        faults.throttle(1, kind="query", times=None, probability=0.02),
        faults.error(502, "bad_gateway", kind="query", times=None, probability=0.1),
        faults.drop(kind="query", when="after", times=None, probability=0.05),
        faults.hang(when="before", kind="query", times=None, probability=0.02),
    ):
        sim.add_fault(fault)
    await attach_and_wait(session, 1000, AdaptiveBackoff())


async def test_the_svip_group_can_use_its_rate() -> None:
    async with (
        Simulator(limits="svip", durations=10_000.0) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url, limits=RateLimits.for_group("svip")) as session,
    ):
        task_id = (await session.submit(FOX)).id
        async with session.open_batch(poll=Backoff(initial=1, factor=1, maximum=1, deadline=20)) as batch:
            for _ in range(1000):
                batch.attach(task_id)
            async for _ in batch:
                pass
        moments = times(sim, "query")
        assert {record.status for record in sim.requests} == {200}
        assert 4000 <= most_in(moments, 10) <= 5000


async def test_a_single_wait_has_its_turn_beside_the_backlog_of_a_batch(session: ToapisSession, sim: Simulator) -> None:
    long, done = (await session.submit(FOX)).id, (await session.generate(FOX)).id
    sim.add_fault(faults.respell(lambda _: "in_progress", kind="query", match=lambda s: s.task_id == long, times=None))
    async with session.open_batch(poll=Backoff(deadline=200)) as batch:
        for _ in range(2000):
            batch.attach(long)
        await anyio.sleep(20)
        started = anyio.current_time()
        await session.wait(done)
        assert anyio.current_time() - started < 0.5


async def test_two_batches_take_turns(session: ToapisSession, sim: Simulator) -> None:
    ids = [(await session.submit(FOX)).id for _ in range(2)]
    sim.add_fault(faults.respell(lambda _: "in_progress", kind="query", times=None))

    async def poll(task_id: str, count: int) -> None:
        async with session.open_batch(poll=Backoff(initial=1, factor=1, maximum=1, deadline=60)) as batch:
            for _ in range(count):
                batch.attach(task_id)
            async for _ in batch:
                pass

    async with anyio.create_task_group() as group:
        group.start_soon(poll, ids[0], 1000)
        group.start_soon(poll, ids[1], 100)
    looks = [sum(record.path.endswith(task_id) for record in sim.requests) for task_id in ids]
    assert 0.8 <= looks[0] / looks[1] <= 1.25  # both have more to ask than their half


async def test_other_processes_of_the_user_are_made_room_for() -> None:
    """Whoever uses up the budget is not seen; what is left of it is."""
    async with (
        Simulator(limits="default", durations=10_000.0) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url) as session,
        ToapisSession(sim.api_key, base_url=sim.base_url) as other,
    ):
        task_id = (await session.submit(FOX)).id

        async def poll(one: ToapisSession) -> None:
            async with one.open_batch(poll=Backoff(initial=1, factor=1, maximum=1, deadline=120)) as batch:
                for _ in range(200):
                    batch.attach(task_id)
                async for _ in batch:
                    pass

        async with anyio.create_task_group() as group:
            group.start_soon(poll, session)
            group.start_soon(poll, other)
        queries = [record for record in sim.requests if record.kind == "query"]
        assert len(queries) >= 5000
        assert sum(record.status == 429 for record in queries) <= 8


async def test_a_refusal_that_shows_an_empty_budget_slows_down_once() -> None:
    class Refusing:
        async def send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
            headers = {"X-RateLimit-Category": "async_query", "X-RateLimit-Limit": "500", "X-RateLimit-Remaining": "0"}
            return HttpResponse(status=429, headers=headers)

        def redact(self, text: str) -> str:
            return text

        async def close(self) -> None:
            pass

    dispatcher = Dispatcher(
        Refusing(),
        limits=RateLimits(),
        retry=RetryPolicy(),
        clock=lambda: 0.0,
        random=lambda: 0.0,
        announce=Announcer(()),
    )
    with pytest.raises(RateLimitedError):
        await dispatcher.query(build_query("image", "t"), asked_id="t", sent_at=0.0)
    expected = Pacer(RateLimits().query_per_second, RateLimits().query_burst)
    expected.throttled(0.0, sent_at=0.0, retry_after=None)
    for pacer in (dispatcher.queries.pacer, expected):
        pacer.take(2.0)
    assert dispatcher.queries.pacer.delay(2.0) == expected.delay(2.0) > 0
