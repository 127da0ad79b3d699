"""The paid step over real sockets: sent again only when certainly not accepted, looked up otherwise."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import aiohttp
import anyio
import pytest

from toapis_async import (
    AuthenticationError,
    BatchClosed,
    ContentRejectedError,
    Failed,
    ImageRequest,
    InsufficientBalanceError,
    JobState,
    ModelUnavailableError,
    RateLimitedError,
    RateLimits,
    RequestValidationError,
    RetryPolicy,
    SubmissionUnknown,
    TaskStatus,
    ToapisSession,
    TransportError,
    Unresolved,
)
from toapis_async.testing import Fault, Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")


def submits(sim: Simulator) -> int:
    return sum(record.kind == "submit" for record in sim.requests)


@pytest.mark.parametrize(
    "fault",
    [
        faults.drop(when="after", kind="submit"),
        faults.hang(when="after", kind="submit"),
        faults.gateway_page(502, when="after", kind="submit"),
        faults.gateway_page(524, when="after", kind="submit"),
        faults.gateway_page(200, when="after", kind="submit"),
        faults.panic(500, when="after", kind="submit"),
        faults.panic(200, when="after", kind="submit"),
        faults.truncate(kind="submit"),
        faults.cut(10, kind="submit"),
        faults.oversize(20_000_000, kind="submit"),
    ],
    ids=["reset", "hang", "502", "524", "HTML", "panic 500", "panic 200", "truncated", "cut", "20 MB"],
)
async def test_an_accepted_request_whose_answer_is_lost_is_found_and_paid_once(
    session: ToapisSession, sim: Simulator, fault: Fault
) -> None:
    sim.add_fault(fault)
    task = await session.generate(FOX)
    assert task.status is TaskStatus.COMPLETED
    assert task.id == sim.charges[0].task_id
    assert (len(sim.charges), submits(sim)) == (1, 1)
    assert not session.unfinished


@pytest.mark.parametrize(
    "fault",
    [
        faults.drop(when="before", kind="submit"),
        faults.hang(when="before", kind="submit"),
        faults.error(500, "internal_error", kind="submit"),
        faults.error(503, "overloaded", kind="submit"),
        faults.error(409, "conflict", kind="submit"),
        faults.redirect("http://127.0.0.1:9/", kind="submit"),
    ],
    ids=["reset", "hang", "500", "503", "409", "redirect"],
)
async def test_a_request_that_was_perhaps_accepted_is_never_sent_again(
    session: ToapisSession, sim: Simulator, fault: Fault
) -> None:
    sim.add_fault(fault)
    with pytest.raises(SubmissionUnknown) as caught:
        await session.generate(FOX)
    assert (len(sim.charges), submits(sim)) == (0, 1)
    assert caught.value.not_found
    assert caught.value.client_business_id is not None
    assert sim.requests[1].path.endswith(caught.value.client_business_id)


@pytest.mark.parametrize(
    "fault",
    [
        faults.error(429, "rate_limit_exceeded", kind="submit", times=3),
        faults.error(429, "rate_limit_error", headers={"Retry-After": "7"}, kind="submit", times=3),
        faults.error(429, "x", headers={"Retry-After": "NaN"}, kind="submit", times=3),
        faults.error(503, "rate_limit_unavailable", headers={"Retry-After": "2"}, kind="submit", times=3),
    ],
    ids=["plain", "seconds", "NaN", "503"],
)
async def test_a_refused_request_is_sent_again_until_it_is_taken(
    session: ToapisSession, sim: Simulator, fault: Fault
) -> None:
    sim.add_fault(fault)
    task = await session.generate(FOX)
    assert task.status is TaskStatus.COMPLETED
    assert (len(sim.charges), submits(sim)) == (1, 4)
    bodies = {record.body for record in sim.requests if record.kind == "submit"}
    assert len(bodies) == 1


async def test_a_refusal_pauses_as_long_as_it_says(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(429, "x", headers={"Retry-After": "42"}, kind="submit"))
    await session.submit(FOX)
    first, second = (record.at for record in sim.requests)
    assert 42 <= second - first <= 43.1  # a part of a second is added, so that processes do not come back together


async def test_refusals_without_end_are_given_up(sim: Simulator) -> None:
    sim.add_fault(faults.error(429, "x", headers={"Retry-After": "30"}, kind="submit", times=None))
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=RetryPolicy(max_throttle=100)) as session:
        with pytest.raises(RateLimitedError):
            await session.submit(FOX)
        assert not session.unfinished
    assert submits(sim) == 5
    assert not sim.charges


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.error(401, "unauthorized", kind="submit"), AuthenticationError),
        (faults.error(422, "content_policy_violation", kind="submit"), ContentRejectedError),
        (faults.error(503, "model_not_found", kind="submit"), ModelUnavailableError),
    ],
)
async def test_a_rejected_request_raises_and_is_not_sent_again(
    session: ToapisSession, sim: Simulator, fault: Fault, kind: type[Exception]
) -> None:
    sim.add_fault(fault)
    with pytest.raises(kind) as caught:
        await session.generate(FOX)
    assert (len(sim.charges), submits(sim)) == (0, 1)
    assert not session.unfinished
    assert "session.wait" not in str(caught.value)


async def test_an_unreachable_service_is_tried_five_times_and_costs_nothing() -> None:
    async with Simulator() as gone:
        url = gone.base_url
    async with ToapisSession("sk-x", base_url=url) as session:
        started = anyio.current_time()
        with pytest.raises(TransportError) as caught:
            await session.submit(FOX)
        assert caught.value.sent is False
        assert anyio.current_time() - started == pytest.approx(0.5 + 1 + 2 + 4, rel=0.2)
        assert not session.unfinished


async def test_a_look_up_that_sees_a_panic_is_not_taken_for_not_found(sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="before", kind="submit", times=None))
    sim.add_fault(faults.panic(200, when="before", kind="query", nth=3))
    retry = RetryPolicy(resubmit_unknown=True)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry) as session:
        with pytest.raises(SubmissionUnknown) as caught:
            await session.submit(FOX)
    assert not caught.value.not_found
    assert submits(sim) == 1


async def test_resubmission_is_opt_in_and_keeps_the_id(sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="before", kind="submit"))
    retry = RetryPolicy(resubmit_unknown=True, lookup_window=30)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry) as session:
        task = await session.submit(FOX)
    assert task.client_business_id == sim.charges[0].client_business_id
    assert (len(sim.charges), submits(sim)) == (1, 2)
    again = next(record for record in sim.requests[1:] if record.kind == "submit")
    assert again.at >= 30


async def test_resubmission_ends_too(sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="before", kind="submit", times=None))
    retry = RetryPolicy(resubmit_unknown=True, lookup_window=30, attempts=3)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry) as session:
        with pytest.raises(SubmissionUnknown):
            await session.submit(FOX)
    assert submits(sim) == 3


async def test_the_id_we_choose_is_random_and_unlike_a_task_id(session: ToapisSession, sim: Simulator) -> None:
    await session.submit(FOX)
    await session.submit(FOX)
    ids = {charge.client_business_id for charge in sim.charges}
    assert len(ids) == 2
    for own_id in ids:
        assert own_id is not None
        assert len(own_id) == 32
        assert own_id.isalnum()
        assert own_id == own_id.lower()


async def test_an_id_of_your_own_is_used_once_only(session: ToapisSession, sim: Simulator) -> None:
    request = ImageRequest("fox", client_business_id="order-7")
    await session.submit(request)
    with pytest.raises(RequestValidationError, match="'order-7' was used before"):
        await session.submit(request)
    assert [charge.client_business_id for charge in sim.charges] == ["order-7"]


async def test_an_id_of_a_rejected_request_may_be_used_again(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(422, "content_policy_violation", kind="submit"))
    request = ImageRequest("fox", client_business_id="order-7")
    with pytest.raises(ContentRejectedError):
        await session.submit(request)
    await session.submit(request)
    assert len(sim.charges) == 1


@pytest.mark.parametrize("how", ["native", "scope", "timeout"])
async def test_cancelling_a_request_on_its_way_waits_for_its_answer(
    session: ToapisSession, sim: Simulator, how: str
) -> None:
    sim.add_fault(faults.delay(10, when="after", kind="submit"))
    started = anyio.current_time()

    async def cancel_native() -> None:
        task = asyncio.create_task(session.generate(FOX))
        await sim.wait_for_requests("submit", 1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    async def cancel_scope() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(session.generate, FOX)
            await sim.wait_for_requests("submit", 1)
            group.cancel_scope.cancel()

    async def cancel_timeout() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await session.generate(FOX)

    await {"native": cancel_native, "scope": cancel_scope, "timeout": cancel_timeout}[how]()
    assert anyio.current_time() - started == pytest.approx(10, abs=0.5)
    assert [task.task_id for task in session.unfinished] == [charge.task_id for charge in sim.charges]
    task = await session.wait(session.unfinished[0].resume_id)
    assert task.status is TaskStatus.COMPLETED
    assert not session.unfinished


async def test_the_shield_is_bounded(session: ToapisSession, sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    sim.add_fault(faults.hang(when="after", kind="submit"))
    with anyio.move_on_after(1):
        await session.submit(FOX)
    assert 60 <= anyio.current_time() <= 76
    (left,) = session.unfinished
    assert left.task_id is None
    assert (await session.wait(left.resume_id)).id == sim.charges[0].task_id
    assert not session.unfinished


async def test_cancelling_before_the_request_is_on_its_way_sends_nothing(sim: Simulator) -> None:
    async with ToapisSession(sim.api_key, base_url=sim.base_url) as session:
        for _ in range(5):  # use the burst up
            await session.submit(FOX)
        with anyio.move_on_after(0.1):
            await session.submit(FOX)
        assert not [task for task in session.unfinished if task.task_id is None]
    assert len(sim.charges) == 5


async def test_a_task_cancelled_before_its_first_step_sends_nothing(session: ToapisSession, sim: Simulator) -> None:
    task = asyncio.create_task(session.submit(FOX))
    task.cancel()
    await asyncio.wait([task])
    with anyio.CancelScope() as scope:
        scope.cancel()
        await session.submit(FOX)
    assert not sim.requests
    assert not session.unfinished


async def test_an_early_release_does_not_free_an_id_that_is_in_use(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(422, "content_policy_violation", kind="submit"))
    request = ImageRequest("fox", client_business_id="order-7")
    async with session.open_batch([request]) as batch:
        await anyio.sleep(5)
        await session.submit(request)
    assert len(batch.unfinished) == 1
    with pytest.raises(RequestValidationError, match="used before"):
        await session.submit(request)
    assert len(sim.charges) == 1


async def test_waiting_for_a_foreign_task_forgets_nothing_else(session: ToapisSession, sim: Simulator) -> None:
    async with aiohttp.ClientSession() as http:
        url = f"{sim.base_url}/images/generations"
        body = {"model": "grok-4-1-image", "prompt": "by hand"}
        async with http.post(url, json=body, headers={"Authorization": f"Bearer {sim.api_key}"}) as response:
            foreign = (await response.json())["id"]
    sim.add_fault(faults.drop(when="after", kind="submit"))
    sim.add_fault(faults.error(500, "internal_error", kind="query", times=3))
    task = asyncio.create_task(session.generate(FOX))
    await sim.wait_for_requests("query", 1)
    task.cancel()
    await asyncio.wait([task])
    assert (await session.wait(foreign)).images
    (left,) = session.unfinished
    assert left.task_id is None


async def test_what_is_sent_is_fixed_when_it_is_handed_over(session: ToapisSession, sim: Simulator) -> None:
    options: dict[str, Any] = {"inner": {"seed": 1}}
    async with session.open_batch() as batch:
        batch.submit(ImageRequest("fox", metadata=options))
        options["inner"]["seed"] = {1, 2}
        assert [type(outcome).__name__ async for outcome in batch] == ["Completed"]
    assert b'"seed": 1' in sim.requests[0].body


@pytest.mark.parametrize("bad_id", ["..", ".", ""])
async def test_an_id_that_cannot_be_asked_for_is_looked_up(session: ToapisSession, sim: Simulator, bad_id: str) -> None:
    def spoil(body: dict[str, object]) -> object:
        return {**body, "id": bad_id}

    sim.add_fault(faults.edit_json(spoil, kind="submit", times=None))
    assert (await session.generate(FOX)).id == sim.charges[0].task_id
    (outcome,) = await session.generate_many([FOX])
    assert outcome.unwrap().id == sim.charges[1].task_id


async def test_a_look_up_starts_when_looking_is_possible(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.throttle(200, kind="query"))
    sim.add_fault(faults.drop(when="after", kind="submit", nth=2))
    await session.submit(FOX)
    with pytest.raises(RateLimitedError):
        await session.get(sim.charges[0].task_id)
    assert (await session.submit(FOX)).id == sim.charges[1].task_id


async def test_a_doubtful_first_attempt_is_not_forgotten_when_the_second_is_refused(sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="after", kind="submit", times=None))
    sim.add_fault(faults.invisible(100))
    sim.add_fault(faults.error(402, "insufficient_quota", kind="submit", nth=2))
    sim.add_fault(faults.error(422, "content_policy_violation", kind="submit", nth=3))
    retry = RetryPolicy(resubmit_unknown=True, lookup_window=20)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry) as session:
        with pytest.raises(SubmissionUnknown, match="another attempt was not taken") as caught:
            await session.generate(FOX)
        assert caught.value.client_business_id == sim.charges[0].client_business_id
        (outcome,) = await session.generate_many([FOX])
    assert isinstance(outcome, Unresolved)
    assert outcome.client_business_id == sim.charges[1].client_business_id


@pytest.mark.parametrize("others", [2, 139], ids=["being sent", "queued"])
async def test_a_doubtful_request_is_not_lost_when_the_intake_closes(sim: Simulator, others: int) -> None:
    sim.add_fault(faults.invisible(1000))
    sim.add_fault(faults.drop(when="after", kind="submit"))
    sim.add_fault(faults.delay(25, when="before", kind="submit", nth=2))
    sim.add_fault(faults.error(402, "insufficient_quota", kind="submit", nth=2, times=None))
    limits = RateLimits(submit_per_second=0.01, submit_burst=2)
    retry = RetryPolicy(resubmit_unknown=True, lookup_window=20)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry, limits=limits) as session:
        doubtful, *unsent = await session.generate_many([FOX] * (1 + others))
    assert isinstance(doubtful, Unresolved)
    assert doubtful.client_business_id == sim.charges[0].client_business_id
    assert doubtful.error.client_business_id == doubtful.client_business_id
    for outcome in unsent:
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, InsufficientBalanceError)
        assert outcome.error.client_business_id is None
    assert len(sim.charges) == 1


async def test_a_doubtful_request_is_never_called_unsent(sim: Simulator) -> None:
    sim.add_fault(faults.invisible(1000))
    sim.add_fault(faults.drop(when="after", kind="submit"))
    limits = RateLimits(submit_per_second=0.01, submit_burst=1)
    retry = RetryPolicy(resubmit_unknown=True, lookup_window=20)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry, limits=limits) as session:
        async with session.open_batch([FOX]) as batch:
            await anyio.sleep(50)
        (job,) = batch.unfinished
        assert job.state is JobState.POSTING
        assert job.client_business_id == sim.charges[0].client_business_id
        with pytest.raises(BatchClosed) as caught:
            await job.wait()
        assert caught.value.client_business_id == job.client_business_id


async def test_cancelling_a_look_up_keeps_the_handle(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="after", kind="submit"))
    sim.add_fault(faults.error(500, "internal_error", kind="query", times=3))
    task = asyncio.create_task(session.submit(FOX))
    await sim.wait_for_requests("query", 1)
    task.cancel()
    await asyncio.wait([task])
    (left,) = session.unfinished
    assert left.client_business_id == sim.charges[0].client_business_id
    assert (await session.wait(left.resume_id)).id == sim.charges[0].task_id


async def test_closing_a_session_waits_for_a_request_on_its_way_and_names_what_is_left(
    sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    sim.add_fault(faults.delay(10, when="after", kind="submit"))
    async with ToapisSession(sim.api_key, base_url=sim.base_url) as session:
        task = asyncio.create_task(session.generate(FOX))
        await sim.wait_for_requests("submit", 1)
        task.cancel()
    assert [left.task_id for left in session.unfinished] == [charge.task_id for charge in sim.charges]
    assert sim.charges[0].task_id in caplog.text
    await asyncio.wait([task])


async def test_an_attempt_that_will_not_end_is_ended_by_the_shield(
    session: ToapisSession, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toapis_async._submission.submitter.POST_SECONDS", 10_000.0)
    sim.add_fault(faults.hang(when="after", kind="submit"))
    started = anyio.current_time()
    task = await session.submit(FOX)
    assert 75 <= anyio.current_time() - started <= 80
    assert task.id == sim.charges[0].task_id


async def test_a_fault_of_ours_in_reading_is_a_lost_answer(
    session: ToapisSession, sim: Simulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read(*_: Any, **__: Any) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("toapis_async._submission.submitter.interpret_submit", read)
    assert (await session.submit(FOX)).id == sim.charges[0].task_id
    assert len(sim.charges) == 1
    assert "Could not read the answer" in caplog.text


# anyio never awaits the coroutine of a child that is cancelled before its first step.
@pytest.mark.filterwarnings("ignore:coroutine 'Submitter.pay' was never awaited:RuntimeWarning")
@pytest.mark.parametrize("early", [True, False])
async def test_cancelling_the_sending_child_alone_loses_nothing(
    session: ToapisSession, sim: Simulator, early: bool
) -> None:
    def child() -> asyncio.Task[Any] | None:
        return next((task for task in asyncio.all_tasks() if "Submitter.pay" in repr(task)), None)

    sim.add_fault(faults.delay(5, when="after", kind="submit"))
    outer = asyncio.create_task(session.submit(FOX))
    while (sending := child()) is None:
        await asyncio.sleep(0)
    if not early:
        await sim.wait_for_requests("submit", 1)
    sending.cancel()
    task = await outer
    del sending
    gc.collect()
    assert [charge.task_id for charge in sim.charges] == [task.id]


def test_a_loop_that_ends_with_a_request_on_its_way_names_it(caplog: pytest.LogCaptureFixture) -> None:
    kept: list[Any] = []

    async def main(sim: Simulator) -> None:
        session = await ToapisSession(sim.api_key, base_url=sim.base_url).__aenter__()
        kept.append(session)
        task = asyncio.create_task(session.submit(FOX))
        await sim.wait_for_requests("submit", 1)
        kept.append(task)

    with Simulator(limits=None) as sim:
        sim.add_fault(faults.hang(when="after", kind="submit"))
        with caplog.at_level(logging.WARNING, logger="toapis_async"):
            asyncio.run(main(sim))
        session: ToapisSession = kept[0]
        (left,) = session.unfinished
        assert left.client_business_id == sim.charges[0].client_business_id
        assert left.client_business_id is not None
        assert left.client_business_id in caplog.text

        async def resume() -> None:
            await session.__aexit__(None, None, None)
            async with ToapisSession(sim.api_key, base_url=sim.base_url) as fresh:
                assert (await fresh.get(left.resume_id)).id == sim.charges[0].task_id

        asyncio.run(resume())


@pytest.mark.parametrize(("length", "warnings"), [(96, 0), (97, 1)])
async def test_a_very_long_id_is_taken_with_a_warning(
    session: ToapisSession, sim: Simulator, caplog: pytest.LogCaptureFixture, length: int, warnings: int
) -> None:
    task = await session.submit(ImageRequest("fox", client_business_id="x" * length))
    assert task.client_business_id == "x" * length
    assert len(caplog.records) == warnings
