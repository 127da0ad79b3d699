"""Thousands of requests under random faults: each is paid at most once, and none is lost."""

from __future__ import annotations

import math
from collections import Counter

import aiohttp
import pytest

from toapis_async import (
    Backoff,
    Completed,
    Failed,
    ImageRequest,
    RateLimits,
    RetryPolicy,
    ToapisSession,
    Unresolved,
)
from toapis_async.testing import Fault, Simulator, faults

pytestmark = pytest.mark.anyio

SEEDS = range(30)
REQUESTS = 80
FAST = RateLimits(submit_per_second=100, submit_burst=50, query_per_second=1000, query_burst=500)


def random_faults() -> list[Fault]:
    """Everything that can happen to a paid request or a question, each now and then."""
    submit: list[Fault] = [
        faults.drop(when="before", kind="submit", times=None, probability=0.02),
        faults.drop(when="after", kind="submit", times=None, probability=0.04),
        faults.drop(when="after", reset=False, kind="submit", times=None, probability=0.04),
        faults.hang(when="before", kind="submit", times=None, probability=0.01),
        faults.hang(when="after", kind="submit", times=None, probability=0.02),
        faults.delay(50, when="after", kind="submit", times=None, probability=0.02),
        faults.delay(70, when="before", kind="submit", times=None, probability=0.01),
        faults.gateway_page(502, when="after", kind="submit", times=None, probability=0.04),
        faults.gateway_page(524, when="before", kind="submit", times=None, probability=0.02),
        faults.gateway_page(200, when="after", kind="submit", times=None, probability=0.02),
        faults.panic(500, when="after", kind="submit", times=None, probability=0.04),
        faults.panic(200, when="before", kind="submit", times=None, probability=0.02),
        faults.truncate(kind="submit", times=None, probability=0.04),
        faults.cut(25, kind="submit", times=None, probability=0.04),
        faults.glue(kind="submit", times=None, probability=0.05),
        faults.gzip(kind="submit", times=None, probability=0.1),
        faults.content_type("text/html", kind="submit", times=None, probability=0.1),
        faults.respell({"queued": ""}, kind="submit", times=None, probability=0.2),
        faults.close_after(kind="submit", times=None, probability=0.1),
        faults.throttle(2, kind="submit", times=None, probability=0.05),
        faults.throttle(None, kind="submit", times=None, probability=0.02),
        faults.throttle(math.nan, kind="submit", times=None, probability=0.02),
        faults.throttle(3, as_date=True, kind="submit", times=None, probability=0.02),
        faults.limiter_down(times=None, probability=0.03),
    ]
    query: list[Fault] = [
        faults.drop(when="before", kind="query", times=None, probability=0.05),
        faults.gateway_page(504, when="before", kind="query", times=None, probability=0.05),
        faults.panic(200, when="before", kind="query", times=None, probability=0.05),
        faults.throttle(1, kind="query", times=None, probability=0.01),
        faults.glue(kind="query", times=None, probability=0.1),
        faults.truncate(kind="query", times=None, probability=0.05),
        faults.invisible(8, times=None, probability=0.3),
    ]
    return submit + query


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_faults_never_make_anybody_pay_twice(seed: int) -> None:
    async with (
        Simulator(limits=None, seed=seed, durations=15.0, faults=random_faults()) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url, limits=FAST) as session,
    ):
        outcomes = await session.generate_many([ImageRequest(f"fox {number}") for number in range(REQUESTS)])
        assert session.unfinished == ()
    charged = Counter(charge.client_business_id for charge in sim.charges)
    assert set(charged.values()) <= {1}
    assert len({charge.prompt for charge in sim.charges}) == len(sim.charges)
    ids = {charge.client_business_id: charge.task_id for charge in sim.charges}
    for outcome in outcomes:
        assert outcome.client_business_id is not None
        task_id = ids.pop(outcome.client_business_id, None)
        if isinstance(outcome, Completed):
            assert outcome.task.id == task_id
        else:
            # Nothing here is rejected: what is not delivered can only be unknown, under its own id.
            assert isinstance(outcome, Unresolved)
            assert outcome.error.client_business_id == outcome.client_business_id
    assert not ids, "accepted and not delivered"
    assert sum(isinstance(outcome, Completed) for outcome in outcomes) >= REQUESTS * 0.8


@pytest.mark.parametrize("seed", range(5))
async def test_rejections_among_the_faults_cost_nothing(seed: int) -> None:
    async with Simulator(limits=None, seed=seed, durations=15.0) as sim:
        sim.add_fault(faults.error(422, "content_policy_violation", kind="submit", times=None, probability=0.2))
        sim.add_fault(faults.error(503, "model_not_found", kind="submit", times=None, probability=0.1))
        sim.add_fault(faults.drop(when="after", kind="submit", times=None, probability=0.2))
        async with ToapisSession(sim.api_key, base_url=sim.base_url, limits=FAST) as session:
            outcomes = await session.generate_many([ImageRequest("fox")] * REQUESTS)
    completed = [outcome for outcome in outcomes if isinstance(outcome, Completed)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert len(completed) == len(sim.charges)
    assert len(completed) + len(failed) == REQUESTS
    paid = {charge.client_business_id for charge in sim.charges}
    assert not paid & {outcome.client_business_id for outcome in failed}


@pytest.mark.parametrize("hook", ["on_request_end", "on_request_exception", "on_response_chunk_received"])
async def test_a_failing_hook_of_a_borrowed_session_does_not_hide_that_a_request_was_sent(
    sim: Simulator, hook: str
) -> None:
    async def push_metrics(*_: object) -> None:
        async with aiohttp.ClientSession() as collector, collector.get("http://127.0.0.1:9/"):
            pass

    sim.add_fault(faults.drop(when="after", kind="submit", nth=2))
    trace = aiohttp.TraceConfig()
    getattr(trace, hook).append(push_metrics)
    async with aiohttp.ClientSession(trace_configs=[trace]) as http:
        retry = RetryPolicy(lookup_window=5)
        async with ToapisSession(sim.api_key, base_url=sim.base_url, http=http, limits=FAST, retry=retry) as session:
            outcomes = await session.generate_many(
                [ImageRequest("fox"), ImageRequest("owl")], poll=Backoff(deadline=60)
            )
    assert sum(record.kind == "submit" for record in sim.requests) == len(sim.charges) == 2
    assert {outcome.client_business_id for outcome in outcomes} == {charge.client_business_id for charge in sim.charges}
    assert not [outcome for outcome in outcomes if isinstance(outcome, Failed)]


async def test_a_borrowed_session_that_sends_again_changes_nothing(sim: Simulator) -> None:
    async def send_three_times(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        for _ in range(2):
            await handler(request)
        return await handler(request)

    sim.add_fault(faults.gateway_page(502, when="after", kind="submit", times=None, probability=0.3))
    async with (
        aiohttp.ClientSession(
            headers={"Authorization": "Bearer somebody-else"},
            cookies={"session": "x"},
            middlewares=(send_three_times,),
            raise_for_status=True,
        ) as http,
        ToapisSession(sim.api_key, base_url=sim.base_url, http=http, limits=FAST) as session,
    ):
        outcomes = await session.generate_many([ImageRequest("fox")] * 30)
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert len(sim.charges) == 30
    assert sum(record.kind == "submit" for record in sim.requests) == 30
