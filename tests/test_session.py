"""The single verbs, over real sockets and in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import warnings
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anyio
import pytest

from toapis_async import (
    ApiError,
    AuthenticationError,
    Backoff,
    Completed,
    ContentRejectedError,
    Failed,
    GenerationFailed,
    ImageRequest,
    MissingApiKeyError,
    NotFoundError,
    PollDeadlineExceeded,
    RateLimits,
    RequestValidationError,
    ResultMissingError,
    ServerError,
    TaskStatus,
    ToapisError,
    ToapisSession,
)
from toapis_async._protocol.endpoints import interpret_query
from toapis_async._protocol.messages import HttpResponse
from toapis_async._submission import Submission
from toapis_async._watch import Watch
from toapis_async.instrumentation import (
    Event,
    LoggingObserver,
    RequestFinished,
    SubmissionAmbiguous,
    TaskAccepted,
    TaskEnded,
    Throttled,
)
from toapis_async.testing import FAIL_MARKER, Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")


def queries(sim: Simulator) -> int:
    return sum(record.kind == "query" for record in sim.requests)


# -- generate, submit, wait, get, watch


async def test_generate_returns_the_pictures(session: ToapisSession, sim: Simulator) -> None:
    task = await session.generate(ImageRequest("a red fox", n=2))
    assert task.status is TaskStatus.COMPLETED
    assert len(task.images) == 2
    assert task.billing is not None
    assert len(sim.charges) == 1
    assert not session.unfinished


async def test_generate_raises_when_the_service_gives_up(session: ToapisSession) -> None:
    with pytest.raises(GenerationFailed) as caught:
        await session.generate(ImageRequest(f"a fox {FAIL_MARKER}"))
    assert caught.value.task.status is TaskStatus.FAILED
    assert caught.value.task_id == caught.value.task.id
    assert caught.value.client_business_id is not None
    assert caught.value.model == "grok-4-1-image"
    assert not session.unfinished


async def test_an_invalid_request_raises_before_anything_is_sent(session: ToapisSession, sim: Simulator) -> None:
    with pytest.raises(RequestValidationError):
        await session.generate(ImageRequest("fox", n=3))
    assert not sim.requests


async def test_the_deadline_of_a_wait_leaves_a_handle(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.never_finishes())
    started = anyio.current_time()
    with pytest.raises(PollDeadlineExceeded) as caught:
        await session.generate(FOX, poll=Backoff(deadline=90))
    assert anyio.current_time() - started == pytest.approx(90, abs=3)
    assert caught.value.task_id == sim.charges[0].task_id
    assert caught.value.task is not None
    assert caught.value.task.status is TaskStatus.IN_PROGRESS
    assert caught.value.client_business_id == sim.charges[0].client_business_id


@pytest.mark.parametrize(
    "fault",
    [
        faults.error(429, "x", headers={"Retry-After": "250"}, kind="query", times=None),
        faults.hang(when="before", kind="query", times=None),
        faults.drop(when="before", kind="query", times=None),
    ],
    ids=["paused", "hanging", "reset"],
)
async def test_the_deadline_holds_whatever_the_service_does(session: ToapisSession, sim: Simulator, fault: Any) -> None:
    sim.add_fault(fault)
    started = anyio.current_time()
    with pytest.raises(PollDeadlineExceeded):
        await session.generate(FOX, poll=Backoff(deadline=60))
    assert 60 <= anyio.current_time() - started <= 63


@pytest.mark.parametrize(
    "fault",
    [
        faults.error(429, "x", kind="query", times=3),
        faults.error(500, "internal_error", kind="query", times=3),
        faults.error(402, "insufficient_quota", kind="query", times=3),
        faults.error(401, "unauthorized", kind="query", times=2),
        faults.gateway_page(504, when="before", kind="query", times=3),
        faults.panic(200, when="before", kind="query", times=3),
        faults.glue(kind="query", times=None),
        faults.truncate(kind="query", times=3),
        faults.drop(when="before", kind="query", times=3),
        faults.hang(when="before", kind="query", times=2),
        faults.content_type("text/plain", kind="query", times=None),
        faults.gzip(kind="query", times=None),
        faults.redirect("http://127.0.0.1:9/", kind="query", times=3),
        faults.error(404, "task_not_found", kind="query", times=2),
        faults.respell({"in_progress": "reticulating"}, kind="query", times=None),
    ],
    ids=lambda fault: repr(fault.action)[:30],
)
async def test_no_failed_look_ends_a_wait(session: ToapisSession, sim: Simulator, fault: Any) -> None:
    sim.add_fault(fault)
    task = await session.generate(FOX)
    assert task.status is TaskStatus.COMPLETED
    assert len(sim.charges) == 1


async def test_a_picture_that_is_late_is_waited_for(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.urls_missing(40))
    started = anyio.current_time()
    task = await session.generate(FOX)
    assert task.images
    assert anyio.current_time() - started >= 60


async def test_a_picture_that_never_comes_is_an_error_of_its_own(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.urls_missing(float("inf")))
    with pytest.raises(ResultMissingError) as caught:
        await session.generate(FOX)
    assert caught.value.task is not None
    assert caught.value.task.raw["status"] == "completed"


async def test_submit_and_wait_are_the_two_halves_of_generate(session: ToapisSession, sim: Simulator) -> None:
    first = await session.submit(FOX)
    assert first.status is TaskStatus.QUEUED
    assert not session.unfinished
    by_id = await session.wait(first.id)
    assert first.client_business_id is not None
    by_own_id = await session.wait(first.client_business_id)
    assert by_id.id == by_own_id.id == first.id
    assert len(sim.charges) == 1


async def test_an_unknown_id_is_told_at_once(session: ToapisSession) -> None:
    started = anyio.current_time()
    for verb in (session.wait, session.get):
        with pytest.raises(NotFoundError) as caught:
            await verb("tsk_img_nobody")
        assert caught.value.task_id == "tsk_img_nobody"
    assert anyio.current_time() - started < 1


async def test_get_returns_a_failed_task_as_a_value(session: ToapisSession) -> None:
    task = await session.submit(ImageRequest(f"a fox {FAIL_MARKER}"))
    await anyio.sleep(30)
    seen = await session.get(task.id)
    assert seen.status is TaskStatus.FAILED
    assert seen.error is not None
    assert seen.error.code == "generation_failed"


async def test_get_asks_once(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(500, "internal_error", kind="query"))
    with pytest.raises(ServerError):
        await session.get("tsk_img_nobody")
    assert queries(sim) == 1


async def test_a_wait_with_a_refused_key_ends_soon(session: ToapisSession, sim: Simulator) -> None:
    task = await session.submit(FOX)
    sim.add_fault(faults.error(401, "unauthorized", kind="query", times=None))
    started = anyio.current_time()
    with pytest.raises(AuthenticationError) as caught:
        await session.wait(task.id)
    assert 10 <= anyio.current_time() - started <= 30
    assert caught.value.task_id == task.id


async def test_pages_of_a_gateway_do_not_count_as_a_refused_key(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.gateway_page(403, when="before", kind="query", times=12))
    assert (await session.generate(FOX)).status is TaskStatus.COMPLETED


async def test_a_failed_look_keeps_nothing_of_its_answer(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.gateway_page(502, when="before", kind="query", times=None))
    before = alive(HttpResponse)
    task = asyncio.create_task(session.generate(FOX))
    await sim.wait_for_requests("query", 3)
    await anyio.sleep(0.1)
    assert alive(HttpResponse) == before
    task.cancel()
    await asyncio.wait([task])


async def test_failed_calls_leave_no_cycles(session: ToapisSession, sim: Simulator) -> None:
    async def fail() -> None:
        sim.add_fault(faults.error(422, "content_policy_violation", kind="submit"))
        with contextlib.suppress(ContentRejectedError):
            await session.generate(FOX)
        with contextlib.suppress(GenerationFailed):
            await session.generate(ImageRequest(f"a fox {FAIL_MARKER}"))
        with contextlib.suppress(NotFoundError):
            await session.wait("tsk_img_nobody")

    await fail()
    before = alive(ToapisError, Submission, Watch)
    gc.disable()
    try:
        await fail()
        assert (
            len([thing for thing in gc.get_objects() if isinstance(thing, ToapisError | Submission | Watch)]) == before
        )
    finally:
        gc.enable()


def alive(*kinds: type) -> int:
    gc.collect()
    return sum(isinstance(thing, kinds) for thing in gc.get_objects())


async def test_a_fault_of_ours_in_reading_ends_no_wait(
    session: ToapisSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = iter([True, True])

    def read(*args: Any, **kwargs: Any) -> Any:
        if next(faulty, False):
            raise KeyError("ours")
        return interpret_query(*args, **kwargs)

    monkeypatch.setattr("toapis_async._http.dispatch.interpret_query", read)
    assert (await session.generate(FOX)).status is TaskStatus.COMPLETED
    assert "Could not read the answer" in caplog.text


async def test_watch_shows_each_visible_change_once(session: ToapisSession) -> None:
    task = await session.submit(FOX)
    shown = [snapshot async for snapshot in session.watch(task.id)]
    states = [(snapshot.raw_status, snapshot.progress) for snapshot in shown]
    assert states == list(dict.fromkeys(states))
    assert shown[0].status in {TaskStatus.QUEUED, TaskStatus.IN_PROGRESS}
    assert shown[-1].status is TaskStatus.COMPLETED
    assert len(shown) >= 3 or states[0][0] == "in_progress"


async def test_watch_ends_with_a_failed_snapshot_and_raises_what_wait_raises(
    session: ToapisSession, sim: Simulator
) -> None:
    task = await session.submit(ImageRequest(f"a fox {FAIL_MARKER}"))
    shown = [snapshot async for snapshot in session.watch(task.id)]
    assert shown[-1].status is TaskStatus.FAILED
    with pytest.raises(NotFoundError):
        async for _ in session.watch("tsk_img_nobody"):
            pytest.fail("there is nothing to show")


async def test_breaking_out_of_watch_leaves_nothing(session: ToapisSession) -> None:
    task = await session.submit(FOX)
    async for _ in session.watch(task.id):
        break
    assert not [left for left in asyncio.all_tasks() if "toapis_async" in repr(left) and "testing" not in repr(left)]


# -- generate_many


async def test_generate_many_keeps_the_input_order(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(422, "content_policy_violation", kind="submit", nth=2))
    outcomes = await session.generate_many([FOX, ("blue", FOX), ImageRequest(""), FOX])
    assert [type(outcome) for outcome in outcomes] == [Completed, Failed, Failed, Completed]
    assert [outcome.key for outcome in outcomes] == ["0", "blue", "1", "2"]


async def test_generate_many_keeps_to_its_bound(session: ToapisSession, sim: Simulator) -> None:
    running = asyncio.create_task(session.generate_many([FOX] * 20, max_in_flight=3))
    await anyio.sleep(15)
    assert len(sim.charges) == 3
    assert len(await running) == 20


async def test_limits_and_pacing_hold_for_every_verb(sim: Simulator) -> None:
    limits = RateLimits(submit_per_second=1, submit_burst=1, query_per_second=2, query_burst=1)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, limits=limits) as session:
        started = anyio.current_time()
        task = await session.submit(FOX)
        await session.submit(FOX)
        assert anyio.current_time() - started >= 1
        started = anyio.current_time()
        for _ in range(5):
            await session.get(task.id)
        assert anyio.current_time() - started >= 2


async def test_the_key_is_cut_out_of_an_answer_to_a_question(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(400, "x", "no", headers={"X-Request-Id": f"for {sim.api_key}"}, kind="query"))
    with pytest.raises(ApiError) as caught:
        await session.get("tsk_img_nobody")
    assert caught.value.request_id == "for [key]"


async def test_generate_many_reads_async_iterables_and_empty_ones(session: ToapisSession) -> None:
    async def produce() -> AsyncIterator[ImageRequest]:
        yield FOX
        yield FOX

    assert len(await session.generate_many(produce())) == 2
    assert await session.generate_many([]) == []


@pytest.mark.parametrize("source", ["abc", FOX, {"a": FOX}, 7])
async def test_what_is_no_source_of_requests_is_refused(session: ToapisSession, source: Any, sim: Simulator) -> None:
    with pytest.raises(TypeError, match=r"requests: .*(iterable|\.items\(\))"):
        await session.generate_many(source)
    with pytest.raises(TypeError, match="requests: "):
        session.open_batch(source)
    assert not sim.requests


async def test_generate_many_reports_unsent_items_as_failed(sim: Simulator, session: ToapisSession) -> None:
    sim.add_fault(faults.error(402, "insufficient_quota", kind="submit", nth=3, times=None))
    outcomes = await session.generate_many([FOX] * 40, max_in_flight=2)
    assert sum(isinstance(outcome, Completed) for outcome in outcomes) == len(sim.charges) == 2
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert len(failed) == 38
    assert {type(outcome.error).__name__ for outcome in failed} == {"InsufficientBalanceError"}
    assert not session.unfinished


async def test_a_cancelled_generate_many_leaves_every_paid_task_in_the_session(
    sim: Simulator, session: ToapisSession
) -> None:
    task = asyncio.create_task(session.generate_many([FOX] * 40, max_in_flight=8))
    await sim.wait_for_requests("submit", 20)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    left = {unfinished.task_id for unfinished in session.unfinished}
    assert left == {charge.task_id for charge in sim.charges}
    assert len(left) >= 20


async def test_a_running_generate_many_is_unfinished(session: ToapisSession, sim: Simulator) -> None:
    running = asyncio.create_task(session.generate_many([FOX] * 3))
    await sim.wait_for_requests("submit", 3)
    await anyio.sleep(1)
    assert {left.task_id for left in session.unfinished} == {charge.task_id for charge in sim.charges}
    await running
    assert session.unfinished == ()


# -- opening and closing


async def test_a_missing_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOAPIS_API_KEY", raising=False)
    for key in (None, "", "  "):
        with pytest.raises(MissingApiKeyError, match="TOAPIS_API_KEY"):
            ToapisSession(key)


@pytest.mark.parametrize("key", ["sk a", "sk\nb", "sk-é", "sk\x00"])
async def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="api_key") as caught:
        ToapisSession(key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "toapis.com",
        "ftp://toapis.com",
        "https://",
        "https://u:p@toapis.com",
        "https://:p@toapis.com",
        "https://toapis.com?x=1",
    ],
)
async def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        ToapisSession("sk-x", base_url=url)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_the_base_url_may_end_as_it_likes(sim: Simulator, ending: str) -> None:
    origin = sim.base_url.removesuffix("/v1")
    async with ToapisSession(sim.api_key, base_url=origin + ending) as session:
        assert (await session.submit(FOX)).id


async def test_key_and_url_come_from_the_environment(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOAPIS_API_KEY", sim.api_key)
    monkeypatch.setenv("TOAPIS_BASE_URL", sim.base_url)
    async with ToapisSession() as session:
        assert (await session.submit(FOX)).id


async def test_a_session_is_entered_once_and_says_when_it_is_not_open(sim: Simulator) -> None:
    session = ToapisSession(sim.api_key, base_url=sim.base_url)
    with pytest.raises(RuntimeError, match="not open"):
        await session.submit(FOX)
    assert session.unfinished == ()
    async with session:
        with pytest.raises(RuntimeError, match="only once"):
            await session.__aenter__()
    with pytest.raises(RuntimeError, match="closed"):
        session.open_batch()
    with pytest.raises(RuntimeError, match="only once"):
        await session.__aenter__()


async def test_a_session_may_be_left_in_another_task(sim: Simulator) -> None:
    session = ToapisSession(sim.api_key, base_url=sim.base_url)
    await asyncio.create_task(session.__aenter__())
    await session.submit(FOX)
    await asyncio.create_task(session.__aexit__(None, None, None))
    gc.collect()


async def test_a_borrowed_session_with_a_login_of_its_own_is_refused(sim: Simulator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        http = aiohttp.ClientSession(auth=aiohttp.BasicAuth("me", "secret"))
    async with http:
        with pytest.raises(ValueError, match="auth="):
            await ToapisSession(sim.api_key, base_url=sim.base_url, http=http).__aenter__()


async def test_a_borrowed_http_session_stays_open(sim: Simulator) -> None:
    async with aiohttp.ClientSession() as http:
        async with ToapisSession(sim.api_key, base_url=sim.base_url, http=http) as session:
            await session.submit(FOX)
        assert not http.closed


# -- observers


async def test_observers_hear_of_every_step(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("observer")

    sim.add_fault(faults.error(429, "x", headers={"Retry-After": "5"}, kind="submit"))
    sim.add_fault(faults.drop(when="after", kind="submit"))
    sim.add_fault(faults.error(429, "x", headers={"Retry-After": "5"}, kind="query", nth=3))
    caplog.set_level("DEBUG", logger="toapis_async")
    observers = (broken, heard.append, LoggingObserver())
    async with ToapisSession(sim.api_key, base_url=sim.base_url, observers=observers) as session:
        await session.generate(FOX)
    kinds = {type(event) for event in heard}
    assert kinds == {RequestFinished, Throttled, SubmissionAmbiguous, TaskEnded}
    assert {event.requests for event in heard if isinstance(event, Throttled)} == {"submit", "query"}
    requests = [event for event in heard if isinstance(event, RequestFinished)]
    assert len(requests) == len(sim.requests)
    assert requests[1].status is None
    assert requests[1].error is not None
    ended = heard[-1]
    assert isinstance(ended, TaskEnded)
    assert ended.task_id == sim.charges[0].task_id
    assert ended.state == "completed"
    assert "TaskEnded" in caplog.text


async def test_a_quiet_log_costs_nothing(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="toapis_async")
    async with ToapisSession(sim.api_key, base_url=sim.base_url, observers=[LoggingObserver()]) as session:
        await session.submit(FOX)
    assert caplog.text == ""


async def test_an_observer_that_is_cancelled_is_only_logged(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    def cancelled(event: Event) -> None:
        raise asyncio.CancelledError

    async with ToapisSession(sim.api_key, base_url=sim.base_url, observers=[cancelled]) as session:
        outcomes = await session.generate_many([FOX] * 3)
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert "failed on" in caplog.text


async def test_observers_hear_of_an_accepted_task(sim: Simulator) -> None:
    heard: list[Event] = []
    async with ToapisSession(sim.api_key, base_url=sim.base_url, observers=[heard.append]) as session:
        task = await session.submit(FOX)
    (accepted,) = [event for event in heard if isinstance(event, TaskAccepted)]
    assert accepted.task_id == task.id
    assert accepted.client_business_id == sim.charges[0].client_business_id
