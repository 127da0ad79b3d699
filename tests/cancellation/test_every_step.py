"""Cancellation at every single step of the event loop, natively and by a scope, loses no accepted task.

Each scenario is first run whole to count the loop's steps, then once for every step with a cancellation in
front of it. The service runs in the same loop, so its steps are covered too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest
from attrs import define, field

from toapis_async import Batch, ImageRequest, SubmissionUnknown, ToapisSession
from toapis_async.testing import Fault, Simulator, VirtualClockEventLoop, faults

FOX = ImageRequest("a red fox")


class SteppingLoop(VirtualClockEventLoop):
    """Calls a function in front of one of its steps."""

    def __init__(self) -> None:
        self.steps = 0
        self._at = 0
        self._action: Callable[[], Any] | None = None
        super().__init__()

    def arm(self, steps: int, action: Callable[[], Any]) -> None:
        """Call `action` in front of the step that is `steps` steps from now."""
        self._at = self.steps + steps
        self._action = action

    def _run_once(self) -> None:
        self.steps += 1
        if self.steps == self._at and self._action is not None:
            self._action()
        super()._run_once()  # type: ignore[misc]  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]


@define
class Report:
    """What a scenario got hold of."""

    delivered: list[str] = field(factory=list[str])
    batches: list[Batch] = field(factory=list[Batch])


Scenario = Callable[[ToapisSession, Report], Awaitable[None]]


async def generate(session: ToapisSession, report: Report) -> None:
    task = await session.generate(FOX)
    report.delivered.append(task.id)


async def generate_lost(session: ToapisSession, report: Report) -> None:
    try:
        task = await session.generate(FOX)
    except SubmissionUnknown as error:
        report.delivered.append(error.client_business_id or "")
    else:
        report.delivered.append(task.id)


async def submit_then_wait(session: ToapisSession, report: Report) -> None:
    first = await session.submit(FOX)
    report.delivered.append(first.id)
    await session.wait(first.id)


async def generate_many(session: ToapisSession, report: Report) -> None:
    outcomes = await session.generate_many([FOX] * 3, max_in_flight=2)
    report.delivered += [outcome.task_id or "" for outcome in outcomes]


async def batch(session: ToapisSession, report: Report) -> None:
    report.batches.append(session.open_batch([FOX] * 3, max_in_flight=2))
    async with report.batches[0] as opened:
        async for outcome in opened:
            report.delivered.append(outcome.task_id or "")


async def fed_batch(session: ToapisSession, report: Report) -> None:
    async def source() -> AsyncIterator[ImageRequest]:
        for _ in range(3):
            await anyio.sleep(1)
            yield FOX

    report.batches.append(session.open_batch(source(), max_in_flight=2, on_exit="drain"))
    async with report.batches[0] as opened:
        job = opened.submit(FOX)
        outcome = await job.wait()
        report.delivered.append(outcome.task_id or "")
        async for outcome in opened:
            if outcome.key != job.key:
                report.delivered.append(outcome.task_id or "")


async def two_consumers(session: ToapisSession, report: Report) -> None:
    async def consume(opened: Batch) -> None:
        async for outcome in opened:
            report.delivered.append(outcome.task_id or "")

    report.batches.append(session.open_batch([FOX] * 3))
    async with report.batches[0] as opened, anyio.create_task_group() as group:
        group.start_soon(consume, opened)
        group.start_soon(consume, opened)


SCENARIOS: list[tuple[str, Scenario, Callable[[], list[Fault]]]] = [
    ("generate", generate, list),
    ("generate refused", generate, lambda: [faults.throttle(3, kind="submit"), faults.throttle(3, kind="query")]),
    ("generate lost", generate_lost, lambda: [faults.drop(when="after", kind="submit")]),
    ("generate slow", generate, lambda: [faults.dribble(40, 1.0, kind="submit")]),
    ("submit and wait", submit_then_wait, list),
    ("generate_many", generate_many, list),
    ("batch", batch, list),
    ("batch lost", batch, lambda: [faults.drop(when="after", kind="submit", times=2)]),
    ("fed batch", fed_batch, list),
    ("two consumers", two_consumers, list),
]


async def run(scenario: Scenario, plan: list[Fault], how: str, step: int) -> bool:
    """Run a scenario with a cancellation in front of one step; returns whether it came before the end."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppingLoop)
    async with Simulator(limits=None, durations=5.0, faults=plan) as sim:
        session = ToapisSession(sim.api_key, base_url=sim.base_url)
        report = Report()
        async with session:
            before = own_tasks()
            if how == "native":
                task = asyncio.ensure_future(scenario(session, report))
                asked: list[bool] = []
                loop.arm(step, lambda: asked.append(task.cancel()))
                await asyncio.wait([task])
                cut = task.cancelled()
                assert cut or task.exception() is None, task.exception()
                assert cut == any(asked), "the cancellation was swallowed"
            else:
                with anyio.CancelScope() as scope:
                    loop.arm(step, scope.cancel)
                    await scenario(session, report)
                cut = scope.cancelled_caught
            await asyncio.sleep(0)
            assert own_tasks() == before
        check(sim, session, report, cut=cut)
    return cut


def check(sim: Simulator, session: ToapisSession, report: Report, *, cut: bool) -> None:
    by_own_id = {charge.client_business_id: charge.task_id for charge in sim.charges}
    assert len(by_own_id) == len(sim.charges), "paid twice"
    jobs = [job for opened in report.batches for job in opened.unfinished]
    own_ids = [job.client_business_id for job in jobs] + [task.client_business_id for task in session.unfinished]
    kept = [by_own_id[own_id] for own_id in own_ids if own_id in by_own_id]
    delivered = [by_own_id.get(item, item) for item in report.delivered]
    assert len(set(delivered)) == len(delivered), "delivered twice"
    assert not set(delivered) & set(kept), "delivered and unfinished"
    assert set(delivered) | set(kept) == {charge.task_id for charge in sim.charges}, "lost"
    assert cut or not kept


def own_tasks() -> set[Any]:
    """All tasks but those in which the simulator accepts and serves connections."""
    servers = ("RequestHandler", "_accept_connection")
    return {task for task in asyncio.all_tasks() if not any(name in repr(task) for name in servers)}


def steps_of(scenario: Scenario, plan: list[Fault]) -> int:
    loop = SteppingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert not runner.run(run(scenario, plan, "native", 0))
    return loop.steps


@pytest.mark.parametrize("how", ["native", "scope"])
@pytest.mark.parametrize(("scenario", "plan"), [case[1:] for case in SCENARIOS], ids=[case[0] for case in SCENARIOS])
def test_cancelling_at_any_step_loses_nothing(
    scenario: Scenario, plan: Callable[[], list[Fault]], how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    total = steps_of(scenario, plan())
    cuts = 0
    for step in range(1, total):
        loop = SteppingLoop()
        with asyncio.Runner(loop_factory=lambda loop=loop: loop) as runner:  # type: ignore[misc]
            cuts += runner.run(run(scenario, plan(), how, step))
    assert cuts > total // 3
