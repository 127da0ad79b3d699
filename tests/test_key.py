"""The key goes to the configured origin and nowhere else: not to other hosts, logs, errors, pickles or reprs."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import pickle
import traceback
import types
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from toapis_async import Backoff, ImageRequest, RetryPolicy, ToapisError, ToapisSession
from toapis_async.instrumentation import LoggingObserver
from toapis_async.testing import Fault, Reply, Simulator, faults

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret-0123456789"
FOX = ImageRequest("a red fox")
QUICK = RetryPolicy(attempts=2, lookup_window=5, max_throttle=5)

SUBMIT_FAULTS: list[Fault] = [
    faults.error(401, "unauthorized", f"Incorrect API key provided: {KEY}", kind="submit", times=None),
    faults.error(500, "internal_error", f"header was Bearer {KEY}", kind="submit", times=None),
    faults.reply_with(Reply(status=400, body=f"<html>{KEY}</html>".encode()), when="before", kind="submit", times=None),
    faults.reply_with(Reply(body=KEY.encode()), when="after", kind="submit", times=None),
    faults.drop(when="before", kind="submit", times=None),
    faults.hang(when="before", kind="submit", times=None),
    faults.cut(10, kind="submit", times=None),
    faults.throttle(3, kind="submit", times=None),
    faults.error(400, "invalid_request", headers={"X-Request-Id": f"for-{KEY}"}, kind="submit", times=None),
    faults.reply_with(
        Reply(status=400, body=('{"error":{"message":"' + "".join(f"\\u{ord(c):04x}" for c in KEY) + '"}}').encode()),
        when="before",
        kind="submit",
        times=None,
    ),
]


def attributes(thing: Any, seen: set[int], depth: int = 0) -> list[Any]:
    """Collect everything that is reachable from an error through attributes, arguments and its chain."""
    if id(thing) in seen or depth > 6 or thing is None:
        return []
    seen.add(id(thing))
    parts = [thing]
    if isinstance(thing, BaseException):
        parts += [*attributes(thing.__cause__, seen, depth + 1), *attributes(thing.__context__, seen, depth + 1)]
    for part in gc.get_referents(thing):
        if not isinstance(part, type | types.ModuleType | types.FunctionType | types.TracebackType):
            parts += attributes(part, seen, depth + 1)
    return parts


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(limits=None, durations=20.0, api_keys=[KEY])


@pytest.mark.parametrize("borrowed", [False, True])
@pytest.mark.parametrize("fault", SUBMIT_FAULTS, ids=lambda fault: repr(fault.action)[:40])
async def test_no_error_and_no_log_holds_the_key(
    simulator: Simulator, fault: Fault, borrowed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with simulator as sim, aiohttp.ClientSession() as http:
        sim.add_fault(fault)
        async with ToapisSession(
            KEY,
            base_url=sim.base_url,
            http=http if borrowed else None,
            retry=QUICK,
            poll=Backoff(deadline=10),
            observers=[LoggingObserver()],
        ) as session:
            assert KEY not in repr(session)
            with pytest.raises(ToapisError) as caught:
                await session.generate(FOX)
    error = caught.value
    assert KEY not in str(error)
    assert KEY not in repr(error)
    assert KEY not in "".join(traceback.format_exception(error))
    assert KEY.encode() not in pickle.dumps(error)
    assert not [part for part in attributes(error, set()) if isinstance(part, str | bytes) and KEY in str(part)]
    assert KEY not in caplog.text
    assert caplog.records


async def test_a_redirect_does_not_carry_the_key_away(simulator: Simulator) -> None:
    async with simulator as sim, Simulator(api_keys=["sk-other"]) as elsewhere:
        sim.add_fault(faults.redirect(f"{elsewhere.base_url}/images/generations", kind="submit"))
        sim.add_fault(faults.redirect(f"{elsewhere.base_url}/images/generations/x", kind="query", times=3))
        async with ToapisSession(KEY, base_url=sim.base_url, retry=QUICK) as session:
            with pytest.raises(ToapisError):
                await session.generate(FOX)
            await session.generate(FOX)
        assert elsewhere.requests == ()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("borrowed", [False, True])
async def test_a_result_host_does_not_get_the_key(simulator: Simulator, tmp_path: Path, borrowed: bool) -> None:
    headers = {"X-Mine": "private"}
    async with simulator as sim, aiohttp.ClientSession(headers=headers, cookies={"mine": "private"}) as http:
        async with ToapisSession(KEY, base_url=sim.base_url, http=http if borrowed else None) as session:
            task = await session.submit(FOX)
            sim.complete(task.id)
            assert await session.download(await session.get(task.id), tmp_path)
        fetched = [record for record in sim.requests if record.kind == "file"]
    assert len(fetched) == 1
    assert not {"authorization", "cookie", "x-mine"} & {name.lower() for name in fetched[0].headers}


async def test_the_key_is_not_in_outcomes_or_records(simulator: Simulator) -> None:
    async with simulator as sim:
        sim.add_fault(faults.hang(when="after", kind="submit", nth=2))
        async with ToapisSession(KEY, base_url=sim.base_url, retry=QUICK) as session:
            outcomes = await session.generate_many([FOX, FOX, ImageRequest("")])
            assert KEY.encode() not in pickle.dumps(outcomes)
            assert KEY not in repr(outcomes)
            assert KEY not in repr(session.unfinished)


async def test_a_session_cannot_be_pickled_or_copied() -> None:
    session = ToapisSession(KEY)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="holds the API key"):
            attempt(session)


@pytest.mark.parametrize("fault", [faults.drop(when="before", times=None), faults.hang(when="before", times=None)])
async def test_the_key_is_in_no_variable_of_a_traceback(sim: Simulator, fault: Fault) -> None:
    sim.add_fault(fault)
    async with ToapisSession(KEY, base_url=sim.base_url, retry=QUICK) as session:
        for call in (session.get("tsk_1"), session.wait("tsk_1", poll=Backoff(deadline=5)), session.submit(FOX)):
            with pytest.raises(ToapisError) as caught:
                await call
            assert shown(caught.value) == []
        with pytest.raises(TimeoutError) as timed_out:
            async with asyncio.timeout(1):
                await session.wait("tsk_1", poll=Backoff(deadline=50))
        assert shown(timed_out.value) == []


def shown(error: BaseException | None) -> list[str]:
    """Return where a report with local variables would show the key."""
    found: list[str] = []
    while error is not None:
        report = traceback.TracebackException(type(error), error, error.__traceback__, capture_locals=True)
        for frame in report.stack:
            found += [f"{frame.name}: {name}" for name, text in (frame.locals or {}).items() if KEY in text]
        error = error.__cause__ or error.__context__
    return found


async def test_a_key_spelled_with_escapes_is_cut_out_of_a_good_answer_too(sim: Simulator) -> None:
    spelled = "".join(f"\\u{ord(character):04x}" for character in KEY)
    body = r"""{"id": "tsk_1", "status": "queued", "note": "a \\u0073 \u0022 \u00e9 KEY"}""".replace("KEY", spelled)
    sim.add_fault(faults.reply_with(Reply(body=body.encode()), when="before", kind="query"))
    async with ToapisSession(KEY, base_url=sim.base_url) as session:
        task = await session.get("tsk_1")
    assert task.raw["note"] == 'a \\u0073 " \u00e9 [key]'
