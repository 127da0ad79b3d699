"""All requests of a session share one budget; a refusal slows everybody down once, and then it is over."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

import anyio
import pytest

from toapis_async import (
    Backoff,
    Batch,
    Completed,
    ImageRequest,
    RateLimitedError,
    RateLimits,
    ServerError,
    ToapisSession,
)
from toapis_async.testing import GroupLimits, Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")


def times(sim: Simulator, kind: str) -> list[float]:
    return sorted(record.at for record in sim.requests if record.kind == kind)


def most_in(moments: list[float], seconds: float) -> int:
    return max(bisect_left(moments, start + seconds) - number for number, start in enumerate(moments))


async def drain(batch: Batch) -> int:
    return len([outcome async for outcome in batch if isinstance(outcome, Completed)])


async def test_batches_and_single_calls_share_one_budget() -> None:
    done: list[int] = []

    async def run_batch(session: ToapisSession) -> None:
        async with session.open_batch([FOX] * 150) as batch:
            done.append(await drain(batch))

    async def run_single(session: ToapisSession) -> None:
        await session.generate(FOX)
        done.append(1)

    async with (
        Simulator(limits="default", durations=30.0) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url) as session,
    ):
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(run_batch, session)
            for _ in range(40):
                group.start_soon(run_single, session)
        assert sum(done) == 340
        assert {record.status for record in sim.requests} == {200}
        assert most_in(times(sim, "submit"), 10) <= 50
        assert most_in(times(sim, "submit"), 60) <= 300
        assert most_in(times(sim, "query"), 10) <= 500
        assert most_in(times(sim, "query"), 60) <= 3000


async def test_several_batches_together_ask_no_faster_than_one() -> None:
    eager = Backoff(initial=0.5, factor=1, maximum=0.5, deadline=40)

    async def poll(session: ToapisSession, task_id: str) -> None:
        async with session.open_batch(poll=eager) as batch:
            for _ in range(100):
                batch.attach(task_id)
            async for _ in batch:
                pass

    async with (
        Simulator(limits="default", durations=10_000.0) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url) as session,
    ):
        task_id = (await session.submit(FOX)).id
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(poll, session, task_id)
        moments = times(sim, "query")
        assert {record.status for record in sim.requests} == {200}
        assert 400 <= most_in(moments, 10) <= 500


@pytest.mark.parametrize("kind", ["submit", "query"])
async def test_one_refusal_is_a_pause_for_everybody(session: ToapisSession, sim: Simulator, kind: str) -> None:
    sim.add_fault(faults.throttle(25, kind=kind, nth=30))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    outcomes = await session.generate_many([FOX] * 60)
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    moments = times(sim, kind)
    refused = [record.at for record in sim.requests if record.status == 429]
    assert len(refused) == 1
    # Requests that were on the wire already may still arrive.
    assert not [moment for moment in moments if refused[0] + 0.1 < moment < refused[0] + 24.9]
    assert max(after - before for before, after in pairwise(moments)) < 27


async def test_an_error_between_two_refusals_ends_the_doubling_of_pauses(
    session: ToapisSession, sim: Simulator
) -> None:
    task = await session.submit(FOX)
    for kind in (RateLimitedError, ServerError, RateLimitedError):
        is_refusal = kind is RateLimitedError
        sim.add_fault(
            faults.throttle(None, kind="query") if is_refusal else faults.error(500, "internal_error", kind="query")
        )
        with pytest.raises(kind):
            await session.get(task.id)
    paused_at = anyio.current_time()
    await session.get(task.id)
    assert anyio.current_time() - paused_at < 3  # two seconds, and not four


async def test_the_rate_is_back_to_full_a_minute_after_a_storm(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.throttle(1, kind="query", times=40))
    ids = [(await session.submit(FOX)).id for _ in range(4)]
    async with session.open_batch(poll=Backoff(initial=1, factor=1, maximum=1, deadline=240)) as batch:
        sim.add_fault(faults.respell(lambda _: "in_progress", kind="query", times=None))
        for number in range(400):
            batch.attach(ids[number % 4])
        async for _ in batch:
            pass
    moments = times(sim, "query")
    last_refusal = max(record.at for record in sim.requests if record.status == 429)
    quiet = [moment for moment in moments if last_refusal + 60 < moment < last_refusal + 120]
    assert len(quiet) >= 60 * 44
    assert most_in(moments, 10) <= 500


async def test_a_tenth_of_the_documented_limits_loses_nothing() -> None:
    tenth = GroupLimits(submit_per_minute=30, submit_per_10s=5, query_per_minute=300, query_per_10s=50)
    async with (
        Simulator(limits=tenth, durations=30.0) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url, poll=Backoff(deadline=7200)) as session,
    ):
        outcomes = await session.generate_many([FOX] * 100)
        assert all(isinstance(outcome, Completed) for outcome in outcomes)
        assert len(sim.charges) == 100
        refused = sum(record.status == 429 for record in sim.requests)
        assert 0 < refused < len(sim.requests) / 3


@pytest.mark.parametrize("shape", ["hintless", "seconds", "dates", "absurd"])
async def test_storms_of_every_shape_pass(session: ToapisSession, sim: Simulator, shape: str) -> None:
    hints: dict[str, tuple[float | str | None, bool]] = {
        "hintless": (None, False),
        "seconds": (3, False),
        "dates": (3, True),
        "absurd": ("-1e999", False),
    }
    hint, as_date = hints[shape]
    for kind in ("submit", "query"):
        sim.add_fault(faults.throttle(hint, as_date=as_date, kind=kind, times=None, probability=0.3))
    outcomes = await session.generate_many([FOX] * 40, poll=Backoff(deadline=100_000))
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert len(sim.charges) == 40


def test_the_default_limits_are_the_documented_ones_with_a_margin() -> None:
    assert RateLimits() == RateLimits.for_group("default")
