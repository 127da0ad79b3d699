"""What is on disk when, and who may read it."""

from __future__ import annotations

import gc
import json
import sqlite3
import stat
import threading
from pathlib import Path

import anyio.lowlevel
import pytest
from journal.common import FOX, foxes

from toapis_async import ImageRequest, JobState, ToapisSession
from toapis_async._http.transport import AiohttpTransport
from toapis_async._journal import Journal, digest_of, read_rows, read_summary, store
from toapis_async._protocol.messages import HttpRequest, HttpResponse
from toapis_async.instrumentation import Event, TaskAccepted
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio


async def test_a_row_says_posting_before_the_first_byte(
    session: ToapisSession, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    send = AiohttpTransport.send

    async def spy(self: AiohttpTransport, request: HttpRequest, *, timeout: float) -> HttpResponse:
        if request.method == "POST":
            body = json.loads(request.body or b"")
            (row,) = [row for row in read_rows(path) if row.client_business_id == body["client_business_id"]]
            seen.append(row.state)
        return await send(self, request, timeout=timeout)

    monkeypatch.setattr(AiohttpTransport, "send", spy)
    assert len(await session.generate_many(foxes(20), journal=path)) == 20
    assert seen == ["posting"] * 20


async def test_a_row_has_the_task_id_before_anybody_is_told(sim: Simulator, path: Path) -> None:
    told: list[str] = []
    written: list[str | None] = []

    def note(event: Event) -> None:
        if isinstance(event, TaskAccepted):
            told.append(event.task_id)
            (row,) = [row for row in read_rows(path) if row.client_business_id == event.client_business_id]
            written.append(row.task_id)
            assert row.state == "submitted"

    async with ToapisSession(sim.api_key, base_url=sim.base_url, observers=[note]) as session:
        await session.generate_many(foxes(5), journal=path)
    assert told == written
    assert len(told) == 5


async def test_pictures_that_come_at_once_are_on_disk_before_anybody_is_told(sim: Simulator, path: Path) -> None:
    """A service that returns no task id may not know the task again."""

    def inline(body: dict[str, object]) -> object:
        return {"result": {"type": "image", "data": [{"url": "https://a.example/b.png"}]}}

    urls: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, TaskAccepted):
            (row,) = read_rows(path)
            assert row.state == "completed"
            assert row.task is not None
            urls.extend(image.url for image in row.task.images)

    sim.add_fault(faults.edit_json(inline, kind="submit"))
    async with ToapisSession(sim.api_key, base_url=sim.base_url, observers=[note]) as session:
        await session.generate_many(foxes(1), journal=path)
    assert urls == ["https://a.example/b.png"]


@pytest.mark.parametrize("end", ["completed", "failed"])
async def test_a_task_that_ends_in_the_answer_to_its_request_is_written_once(
    session: ToapisSession, sim: Simulator, path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[str] = []
    apply = store.apply

    def note(db: sqlite3.Connection, changes: list[store.Change]) -> None:
        states.extend(change.state for change in changes)
        apply(db, changes)

    def ended(body: dict[str, object]) -> object:
        result = {"type": "image", "data": [{"url": "https://a.example/b.png"}]}
        return {**body, "status": end, "result": result if end == "completed" else None}

    monkeypatch.setattr("toapis_async._journal.journal.apply", note)
    sim.add_fault(faults.edit_json(ended, kind="submit"))
    (first,) = await session.generate_many(foxes(1), journal=path)
    assert states == ["queued", "posting", end]
    (again,) = await session.generate_many(foxes(1), journal=path)
    assert (first.state.value, again.state.value) == (end, end)
    assert again.replayed


async def test_a_found_task_is_written_before_anybody_is_told(
    session: ToapisSession, sim: Simulator, path: Path
) -> None:
    sim.add_fault(faults.drop(when="after", kind="submit"))
    sim.add_fault(faults.never_finishes())
    async with session.open_batch(journal=path) as batch:
        job = batch.submit(FOX)
        while job.state is not JobState.SUBMITTED:
            await anyio.lowlevel.checkpoint()
        (row,) = read_rows(path)
        assert row.state == "submitted"
        assert row.task_id == job.task_id is not None


async def test_the_key_is_not_in_it_and_only_its_owner_may_read_it(
    session: ToapisSession, sim: Simulator, path: Path
) -> None:
    async with session.open_batch(foxes(3), journal=path) as batch:
        async for _ in batch:
            pass
        beside = list(path.parent.iterdir())
        assert len(beside) >= 2
        for file in beside:
            assert sim.api_key.encode() not in file.read_bytes()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {file.name for file in path.parent.iterdir()} == {"fox.db", "fox.db.lock"}


async def test_the_digest_of_a_request_is_the_same_in_every_version() -> None:
    rich = ImageRequest(
        "un renard rouge \N{FOX FACE}",
        model="grok-4-2-image",
        size="16:9",
        n=2,
        images=["https://a.example/1.png"],
        client_business_id="mine",
        callback_url="https://a.example/hook",
        metadata={"seed": 7, "b": [1.5, None, True]},
        extra={"quality": "high"},
    )
    assert digest_of(FOX) == GOLDEN_PLAIN
    assert digest_of(rich) == GOLDEN_RICH
    same = ImageRequest("a red fox", client_business_id="another", images=[], metadata={})
    assert digest_of(same) == digest_of(FOX)
    assert digest_of(ImageRequest("x", extra={"a": {1: 2}})) == digest_of(ImageRequest("x", extra={"a": {"1": 2}}))
    others = [ImageRequest("a red fox", n=1), ImageRequest("a red fox "), ImageRequest("a red fox", extra={"n2": 1})]
    assert len({digest_of(request) for request in (FOX, rich, *others)}) == 5


GOLDEN_PLAIN = "d07b96b08ab335483177abedbf3d0e27"
GOLDEN_RICH = "a0f7c6c2c3e80b7ba83c770162f9cff0"


async def test_many_rows_are_read_in_the_order_of_arrival(session: ToapisSession, path: Path) -> None:
    requests = foxes(250)
    await session.generate_many(requests, journal=path)
    assert [row.request for row in read_rows(path)] == requests
    summary = read_summary(path)
    assert summary.counts == {"completed": 250}


async def test_no_thread_is_left(session: ToapisSession, path: Path) -> None:
    async with session.open_batch([FOX], journal=path) as batch:
        await anext(batch)
        assert any(thread.name == "journal fox.db" for thread in threading.enumerate())
    assert not any(thread.name == "journal fox.db" for thread in threading.enumerate())


async def test_the_time_limits_of_what_was_written_do_not_keep_the_journal(session: ToapisSession, path: Path) -> None:
    await session.generate_many(foxes(5), journal=path)
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Journal)]
