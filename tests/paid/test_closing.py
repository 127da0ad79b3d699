"""Who closes or cancels while a request is on its way gets neither a second payment nor a lost answer."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from toapis_async import (
    ContentRejectedError,
    Failed,
    ImageRequest,
    RateLimits,
    RetryPolicy,
    ToapisSession,
    TransportError,
    Unresolved,
)
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")


class CountingEventLoop(asyncio.SelectorEventLoop):
    """Counts its rounds, each of which looks at the clock. In real time: virtual time never passes for who spins."""

    rounds = 0

    def time(self) -> float:
        self.rounds += 1
        return super().time()


@pytest.mark.parametrize("how", ["scope", "native"])
async def test_closing_a_session_may_be_cancelled_without_losing_the_answer(sim: Simulator, how: str) -> None:
    sim.add_fault(faults.delay(10, when="after", kind="submit"))
    session = ToapisSession(sim.api_key, base_url=sim.base_url)
    await session.__aenter__()
    posting = asyncio.create_task(session.submit(FOX))
    await sim.wait_for_requests("submit", 1)
    if how == "scope":
        with anyio.move_on_after(1):
            await session.__aexit__(None, None, None)
    else:
        closing = asyncio.create_task(session.__aexit__(None, None, None))
        await asyncio.wait([closing], timeout=1)
        closing.cancel()
        await asyncio.wait([closing], timeout=100)
        assert closing.cancelled()
    with anyio.fail_after(100):
        task = await posting
    assert [charge.task_id for charge in sim.charges] == [task.id]
    assert not session.unfinished


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": CountingEventLoop})], ids=["counting"])
async def test_closing_waits_for_a_second_request_on_its_way_without_spinning(sim: Simulator) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingEventLoop)
    session = ToapisSession(sim.api_key, base_url=sim.base_url)
    await session.__aenter__()
    await session.submit(FOX)
    sim.add_fault(faults.delay(0.3, when="after", kind="submit"))
    posting = asyncio.create_task(session.submit(FOX))
    await sim.wait_for_requests("submit", 2)
    before = loop.rounds
    await session.__aexit__(None, None, None)
    assert loop.rounds - before < 1000  # it takes dozens; a loop that spins, thousands
    with anyio.fail_after(10):
        task = await posting
    assert sim.charges[1].task_id == task.id


async def test_a_scope_cancelled_before_the_first_byte_pays_nothing(session: ToapisSession, sim: Simulator) -> None:
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)  # runs before the child that would send
        await session.submit(FOX)
    assert scope.cancelled_caught
    assert not sim.requests
    assert not session.unfinished


async def test_a_rejection_that_comes_while_the_batch_is_left_is_its_outcome(
    session: ToapisSession, sim: Simulator
) -> None:
    sim.add_fault(faults.delay(5, when="before", kind="submit"))
    sim.add_fault(faults.error(422, "content_policy_violation", kind="submit"))
    async with session.open_batch([FOX]) as batch:
        await anyio.sleep(1)
        assert batch.progress.posting == 1
    (job,) = batch.unfinished
    assert isinstance(job.outcome, Failed)
    assert isinstance(job.outcome.error, ContentRejectedError)


async def test_an_answer_that_is_lost_while_the_batch_is_drained_is_looked_up_and_tells_why(
    session: ToapisSession, sim: Simulator
) -> None:
    sim.add_fault(faults.delay(5, when="before", kind="submit"))
    sim.add_fault(faults.gateway_page(502, when="before", kind="submit"))
    async with session.open_batch([FOX], on_exit="drain") as batch:
        await anyio.sleep(1)
        assert batch.progress.posting == 1
    (job,) = batch.unfinished
    assert isinstance(job.outcome, Unresolved)
    assert "web page" in str(job.outcome.error)
    assert job.outcome.client_business_id == job.client_business_id


async def test_closing_a_session_keeps_the_record_of_a_doubtful_request_that_waits_for_its_turn(sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="after", kind="submit"))
    sim.add_fault(faults.invisible(1000))
    retry = RetryPolicy(resubmit_unknown=True, lookup_window=5)
    limits = RateLimits(submit_per_second=0.01, submit_burst=1)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry, limits=limits) as session:
        call = asyncio.create_task(session.generate(FOX))
        await anyio.sleep(50)
    with pytest.raises(TransportError) as caught:
        await call
    (charge,) = sim.charges
    assert caught.value.client_business_id == charge.client_business_id
    assert [task.client_business_id for task in session.unfinished] == [charge.client_business_id]
