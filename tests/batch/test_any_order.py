"""A batch under any order of submitting, feeding, attaching, iterating, cancelling and failing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import anyio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from toapis_async import Backoff, Batch, Completed, ImageRequest, Outcome, RateLimits, ToapisSession, Unresolved
from toapis_async.testing import Simulator, VirtualClockEventLoop, faults

T = TypeVar("T")
FAST = RateLimits(submit_per_second=20, submit_burst=10, query_per_second=200, query_burst=100)

submit_faults = st.sampled_from([
    faults.drop(when="after", kind="submit"),
    faults.drop(when="before", kind="submit"),
    faults.hang(when="after", kind="submit"),
    faults.gateway_page(502, when="after", kind="submit"),
    faults.panic(500, when="after", kind="submit"),
    faults.throttle(3, kind="submit"),
    faults.error(422, "content_policy_violation", kind="submit"),
    faults.truncate(kind="submit"),
    faults.fails(),
])
query_faults = st.sampled_from([
    faults.drop(when="before", kind="query"),
    faults.hang(when="before", kind="query"),
    faults.throttle(5, kind="query", times=3),
    faults.panic(200, when="before", kind="query", times=5),
    faults.gateway_page(504, when="before", kind="query", times=5),
    faults.error(404, "task_not_found", kind="query", times=2),
])


class AnyOrder(RuleBasedStateMachine):
    """One batch with a source that is fed by hand; everything runs in virtual time."""

    sim: Simulator
    session: ToapisSession
    batch: Batch
    leave: asyncio.Event
    host: asyncio.Task[None]
    max_in_flight: int

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualClockEventLoop)
        self.delivered: list[Outcome] = []
        self.attached: set[str] = set()
        self.asked = 0
        self.holds: list[AbstractContextManager[None]] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    # -- the world

    @initialize(max_in_flight=st.integers(1, 6), seed=st.integers(0, 1000))
    def open(self, max_in_flight: int, seed: int) -> None:
        self.max_in_flight = max_in_flight

        async def enter() -> None:
            self.sim = await Simulator(limits=None, seed=seed, durations=10.0).__aenter__()
            session = ToapisSession(
                self.sim.api_key, base_url=self.sim.base_url, limits=FAST, poll=Backoff(deadline=300)
            )
            self.session = await session.__aenter__()
            self.batch = self.session.open_batch(max_in_flight=max_in_flight)
            self.leave = asyncio.Event()
            entered = asyncio.Event()
            self.host = asyncio.create_task(self.hold_open(entered))
            await entered.wait()

        self.run(enter())

    async def hold_open(self, entered: asyncio.Event) -> None:
        async with self.batch:
            entered.set()
            await self.leave.wait()

    def teardown(self) -> None:
        async def close() -> None:
            self.leave.set()
            await self.host
            self.check()
            await self.session.__aexit__(None, None, None)
            await self.sim.__aexit__(None, None, None)

        if hasattr(self, "sim"):
            self.run(close())
        self.runner.close()

    # -- what users do

    @rule(count=st.integers(1, 4))
    def submit(self, count: int) -> None:
        async def work() -> None:
            for _ in range(count):
                self.batch.submit(ImageRequest(f"fox {self.asked}"))
                self.asked += 1

        self.run(work())

    @rule(count=st.integers(0, 8), asynchronous=st.booleans())
    def feed(self, count: int, asynchronous: bool) -> None:
        numbers = range(self.asked, self.asked + count)
        self.asked += count

        async def slow() -> AsyncIterator[ImageRequest]:
            for number in numbers:
                await anyio.sleep(1)
                yield ImageRequest(f"fox {number}")

        def quick() -> Generator[ImageRequest]:
            for number in numbers:
                yield ImageRequest(f"fox {number}")

        async def work() -> None:
            self.batch.feed(slow() if asynchronous else quick())

        self.run(work())

    @precondition(lambda self: self.sim.charges)
    @rule(data=st.data())
    def attach(self, data: st.DataObject) -> None:
        free = sorted({charge.task_id for charge in self.sim.charges} - self.attached)
        if free:
            task_id = data.draw(st.sampled_from(free))
            self.attached.add(task_id)

            async def work() -> None:
                self.batch.attach(task_id, key=f"attached {task_id}")

            self.run(work())

    @rule()
    def hold(self) -> None:
        self.holds.append(self.batch.hold())
        self.holds[-1].__enter__()

    @precondition(lambda self: self.holds)
    @rule()
    def let_go(self) -> None:
        async def work() -> None:
            self.holds.pop().__exit__(None, None, None)

        self.run(work())

    @rule(seconds=st.floats(0.01, 60))
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(count=st.integers(1, 10), patience=st.floats(0.001, 30))
    def iterate(self, count: int, patience: float) -> None:
        async def work() -> None:
            for _ in range(count):
                try:
                    self.delivered.append(await asyncio.wait_for(anext(self.batch), patience))
                except (TimeoutError, StopAsyncIteration):
                    return

        self.run(work())

    @rule(consumers=st.integers(1, 4), patience=st.floats(0.001, 5))
    def iterate_together_and_cancel(self, consumers: int, patience: float) -> None:
        async def consume() -> None:
            async for outcome in self.batch:
                self.delivered.append(outcome)

        async def work() -> None:
            tasks = [asyncio.create_task(consume()) for _ in range(consumers)]
            await asyncio.wait(tasks, timeout=patience)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

        self.run(work())

    # -- what the service does

    @rule(fault=submit_faults)
    def a_submit_goes_wrong(self, fault: Any) -> None:
        self.sim.add_fault(fault)

    @rule(fault=query_faults)
    def a_question_goes_wrong(self, fault: Any) -> None:
        self.sim.add_fault(fault)

    @precondition(lambda self: self.sim.pending)
    @rule(data=st.data(), fails=st.booleans())
    def a_task_ends(self, data: st.DataObject, fails: bool) -> None:
        task_id = data.draw(st.sampled_from(sorted(self.sim.pending)))

        async def work() -> None:
            (self.sim.fail if fails else self.sim.complete)(task_id)

        self.run(work())

    # -- what must hold

    @invariant()
    def check(self) -> None:
        if not hasattr(self, "sim"):
            return
        keys = [outcome.key for outcome in self.delivered]
        assert len(keys) == len(set(keys)), "delivered twice"
        left = self.batch.unfinished
        assert not set(keys) & {job.key for job in left}, "delivered and unfinished"
        own_ids = {outcome.client_business_id for outcome in self.delivered}
        own_ids |= {job.client_business_id for job in left}
        charged = [charge.client_business_id for charge in self.sim.charges]
        assert len(charged) == len(set(charged)), "paid twice"
        assert set(charged) <= own_ids, "lost"
        progress = self.batch.progress
        attached = sum(job.key.startswith("attached") and job.outcome is None for job in left)
        assert progress.posting + progress.running - attached <= self.max_in_flight
        assert progress.ended == len(keys) + sum(job.outcome is not None for job in left)

    @rule()
    def everything_ends(self) -> None:
        """Let go of everything and iterate to the end: every job asked for has been delivered."""

        async def work() -> None:
            while self.holds:
                self.holds.pop().__exit__(None, None, None)
            with anyio.fail_after(50_000):
                async for outcome in self.batch:
                    self.delivered.append(outcome)

        self.run(work())
        assert self.batch.unfinished == ()
        assert len(self.delivered) == self.asked + len(self.attached)
        charged = {charge.client_business_id: charge.task_id for charge in self.sim.charges}
        for outcome in self.delivered:
            if isinstance(outcome, Completed):
                assert outcome.task.id == charged.get(outcome.client_business_id, outcome.task_id)
            elif isinstance(outcome, Unresolved):
                assert outcome.error.client_business_id or outcome.error.task_id


AnyOrder.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestAnyOrder = AnyOrder.TestCase
