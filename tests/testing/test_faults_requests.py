"""Faults that answer a request, or do not, in place of the service: on the wire and in the ledger."""

from __future__ import annotations

import json
import math
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import pytest

from toapis_async.testing import (
    Fault,
    Reply,
    faults,
)
from toapis_async.testing.replies import PANIC

if TYPE_CHECKING:
    from collections.abc import Callable

    from testing.conftest import Running

ORDER = json.dumps({"model": "grok-4-1-image", "prompt": "a fox", "client_business_id": "mine"}).encode()
PATH = "/images/generations"


@pytest.mark.anyio
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_reset_is_a_reset_and_a_submit_is_charged_only_if_it_comes_after(running: Running, when: Any) -> None:
    async with running(faults=[faults.drop(when=when, kind="submit")]) as caller:
        with pytest.raises(ConnectionResetError):
            await caller.raw("POST", PATH, ORDER)
        assert len(caller.simulator.charges) == (when == "after")
        (record,) = caller.simulator.requests
        assert (record.status, len(record.faults)) == (None, 1)
        assert (await caller.submit()).status == 200


@pytest.mark.anyio
async def test_a_drop_without_reset_is_an_ordinary_end_of_the_connection(running: Running) -> None:
    async with running(faults=[faults.drop(when="after", reset=False)]) as caller:
        assert await caller.raw("POST", PATH, ORDER) == b""
        assert len(caller.simulator.charges) == 1


@pytest.mark.anyio
async def test_a_drop_before_processing_does_not_read_the_request(running: Running) -> None:
    async with running(faults=[faults.drop(when="before")]) as caller:
        with pytest.raises(ConnectionResetError):
            await caller.raw("POST", PATH, ORDER)
        assert caller.simulator.requests[0].body == b""
        caller.simulator.add_fault(faults.drop(when="before", match="a fox"))
        with pytest.raises(ConnectionResetError):
            await caller.raw("POST", PATH, ORDER)
        assert caller.simulator.requests[1].body == ORDER


@pytest.mark.anyio
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_hang_never_replies(running: Running, when: Any) -> None:
    async with running(faults=[faults.hang(when=when)]) as caller:
        with pytest.raises(TimeoutError), anyio.fail_after(5 * 86_400):
            await caller.raw("POST", PATH, ORDER)
        assert len(caller.simulator.charges) == (when == "after")


@pytest.mark.anyio
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_delay_moves_acceptance_or_the_reply(running: Running, when: Any) -> None:
    async with running(faults=[faults.delay(7, when=when)]) as caller:
        await caller.submit()
        assert caller.simulator.now == 7
        assert caller.simulator.charges[0].at == (7 if when == "before" else 0)


@pytest.mark.anyio
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_submit_is_accepted_after_its_client_has_given_up(running: Running, when: Any) -> None:
    async with running(faults=[faults.delay(7, when=when)]) as caller:
        with anyio.move_on_after(1):
            await caller.submit()
        await anyio.sleep(10)
        assert len(caller.simulator.charges) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("make", "status", "start"),
    [
        (lambda: faults.gateway_page(524, when="before"), 524, b"<!DOCTYPE html>"),
        (lambda: faults.panic(500, when="before"), 500, PANIC),
        (lambda: faults.error(500, "internal_error"), 500, b'{"error":{"code":"internal_error"'),
        (lambda: faults.error(404, "x", shape="integer"), 404, b'{"error":{"code":404,'),
        (lambda: faults.error(400, "task_not_exist", shape="message"), 400, b'{"message":"task_not_exist"}'),
        (lambda: faults.error(400, "x", "no", shape="text"), 400, b'{"error":"no"}'),
        (lambda: faults.error(400, "x", "no", shape="flat"), 400, b'{"code":"x","message":"no"}'),
        (lambda: faults.error(400, "x", "no", shape="success"), 400, b'{"success":false,"message":"no"}'),
        (lambda: faults.error(400, "x", shape="nested"), 400, b'{"error":{"error":{"code":"x"'),
        (lambda: faults.error(400, "x", "no", shape="untyped"), 400, b'{"error":{"code":"x","message":"no"}}'),
        (lambda: faults.reply_with(Reply(status=299, body=b"odd"), when="before"), 299, b"odd"),
        (faults.limiter_down, 503, b'{"error":{"code":"rate_limit_unavailable"'),
        (lambda: faults.throttle(code="rate_limit_error"), 429, b'{"error":{"code":"rate_limit_error"'),
    ],
)
async def test_a_reply_before_processing_charges_nothing(
    running: Running, make: Callable[[], Fault], status: int, start: bytes
) -> None:
    async with running(faults=[make()]) as caller:
        answer = await caller.submit()
        assert (answer.status, answer.body[: len(start)]) == (status, start)
        assert caller.simulator.charges == ()
        assert (await caller.submit()).status == 200


@pytest.mark.anyio
@pytest.mark.parametrize(
    "make",
    [
        lambda: faults.gateway_page(502, when="after"),
        lambda: faults.panic(when="after"),
        lambda: faults.error(500, "internal_error", when="after"),
        lambda: faults.reply_with(Reply(status=500), when="after"),
    ],
)
async def test_a_reply_after_processing_hides_an_accepted_task(running: Running, make: Callable[[], Fault]) -> None:
    async with running(faults=[make()]) as caller:
        answer = await caller.submit(client_business_id="mine")
        assert b"tsk_img" not in answer.body
        (charge,) = caller.simulator.charges
        assert (await caller.get("mine")).json["id"] == charge.task_id


@pytest.mark.anyio
async def test_faults_after_processing_leave_refused_submits_alone(running: Running) -> None:
    async with running(faults=[faults.drop(when="after", kind="submit")]) as caller:
        assert (await caller.submit(n=3)).status == 400
        with pytest.raises(aiohttp.ClientError):
            await caller.submit()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "sent"), [(2, "2"), (2.0, "2"), (0.5, "0.5"), (math.nan, "nan"), (1e9, "1000000000"), ("soon", "soon")]
)
async def test_retry_after_is_sent_as_given(running: Running, given: float | str, sent: str) -> None:
    async with running(faults=[faults.throttle(given)]) as caller:
        assert (await caller.get("x")).headers["Retry-After"] == sent


@pytest.mark.anyio
async def test_retry_after_may_be_absent_or_a_date_by_the_clock_of_the_service(running: Running) -> None:
    scripted = [faults.throttle(None), faults.throttle(30, as_date=True), faults.limiter_down(5, as_date=True)]
    async with running(faults=scripted) as caller:
        await anyio.sleep(5000)
        assert "Retry-After" not in (await caller.get("x")).headers
        for seconds, call in ((30, caller.get("x")), (5, caller.submit())):
            headers = (await call).headers
            ahead = parsedate_to_datetime(headers["Retry-After"]) - parsedate_to_datetime(headers["Date"])
            assert ahead.total_seconds() == seconds
    with pytest.raises(ValueError, match="in seconds"):
        faults.throttle("soon", as_date=True)


@pytest.mark.anyio
async def test_a_redirect_points_elsewhere(running: Running) -> None:
    async with running(faults=[faults.redirect("http://127.0.0.1:1/elsewhere", 307)]) as caller:
        answer = await caller.submit()
        assert (answer.status, answer.headers["Location"]) == (307, "http://127.0.0.1:1/elsewhere")
        assert caller.simulator.charges == ()
