"""Opening and closing a session, and what its observers hear."""

from __future__ import annotations

import asyncio
import gc
import warnings

import aiohttp
import pytest

from toapis_async import (
    Completed,
    ImageRequest,
    MissingApiKeyError,
    ToapisSession,
)
from toapis_async.instrumentation import (
    Event,
    LoggingObserver,
    RequestFinished,
    SubmissionAmbiguous,
    TaskAccepted,
    TaskEnded,
    Throttled,
)
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio


FOX = ImageRequest("a red fox")


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
