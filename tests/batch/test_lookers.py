"""How idle workers are called: none sleeps on while there is work."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from toapis_async import Backoff
from toapis_async._batch.job import JobRecord
from toapis_async._batch.lookers import Lookers
from toapis_async._batch.signals import Bench
from toapis_async._schedule.backoff import BackoffSchedule
from toapis_async._watch import Origin, Verdict, Watch

pytestmark = pytest.mark.anyio


async def test_a_worker_that_is_called_and_cancelled_in_one_step_sends_another() -> None:
    bench = Bench()
    came: list[str] = []

    async def work(name: str) -> None:
        await bench.sit()
        came.append(name)

    workers = {name: asyncio.create_task(work(name)) for name in ("first", "second")}
    await anyio.wait_all_tasks_blocked()
    bench.call_one()  # the one that sat down last
    workers["second"].cancel()
    await anyio.wait_all_tasks_blocked()
    assert came == ["first"]
    assert not bench
    await asyncio.gather(*workers.values(), return_exceptions=True)


async def test_a_call_passes_over_workers_that_are_gone() -> None:
    bench = Bench()
    gone, here = (asyncio.ensure_future(bench.sit()) for _ in range(2))
    gone, here = here, gone  # the last to sit down is called first
    await anyio.wait_all_tasks_blocked()
    gone.cancel()
    bench.call_one()
    with anyio.fail_after(1):
        await here


async def test_an_alarm_that_rings_too_early_is_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = 0.9  # seconds by which the clock is ahead of the event loop's

    async def turn(*_: Any) -> float:
        return anyio.current_time()

    monkeypatch.setattr("toapis_async._batch.lookers.take_turn", turn)
    clock = SimpleNamespace(clock=lambda: anyio.current_time() + ahead)

    def end(job: JobRecord, verdict: Verdict) -> None:
        raise AssertionError(f"{job} ended with {verdict}")

    lookers = Lookers(cast(Any, clock), end)
    started = anyio.current_time()
    schedule = BackoffSchedule(Backoff(initial=1, jitter=0))
    watch = Watch("t", kind="image", schedule=schedule, origin=Origin.ACCEPTED, since=started, random=lambda: 0.5)
    looking = asyncio.create_task(lookers._next_look())  # pyright: ignore[reportPrivateUsage]
    await anyio.wait_all_tasks_blocked()
    lookers.add(JobRecord("a", 0, on_received=lambda _: None), watch)
    ahead = 0.0
    with anyio.fail_after(10):
        _, sent_at = await looking
    assert sent_at - started == pytest.approx(1.0)
