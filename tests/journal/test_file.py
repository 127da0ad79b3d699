"""The file itself: what is on disk when, who may use it, and what happens when it cannot be used."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import sys
import threading
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from journal.conftest import open_session

from toapis_async import Completed, Failed, ImageRequest, JobState, JournalError, Outcome, ToapisSession
from toapis_async._http.transport import AiohttpTransport
from toapis_async._journal import digest_of, read_rows, read_summary, store
from toapis_async._protocol.messages import HttpRequest, HttpResponse
from toapis_async.instrumentation import Event, TaskAccepted
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")


def foxes(count: int) -> list[ImageRequest]:
    return [ImageRequest(f"fox {number}") for number in range(count)]


def states(path: Path) -> list[str]:
    return [row.state for row in read_rows(path)]


# -- what is on disk when


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


# -- one writer at a time


async def test_a_second_batch_is_told_who_uses_it(session: ToapisSession, sim: Simulator, path: Path) -> None:
    async with session.open_batch([FOX], journal=path) as batch, open_session(sim) as another:
        for other in (session, another):
            with pytest.raises(JournalError, match=rf"in use by process {os.getpid()} \(this process\) since 20"):
                async with other.open_batch([FOX], journal=path):
                    pass
        assert isinstance(await anext(batch), Completed)
    assert isinstance((await session.generate_many([FOX], journal=path))[0], Completed)
    assert len(sim.charges) == 1


async def test_another_name_of_the_file_is_the_same_journal(session: ToapisSession, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "link.db").symlink_to(path)
    async with session.open_batch(journal=path):
        with pytest.raises(JournalError, match="in use by process"):
            async with session.open_batch(journal=other / "link.db"):
                pass


HOLDER = """
import asyncio, sys
from toapis_async import ImageRequest, ToapisSession
async def main():
    async with ToapisSession("sk-x", base_url=sys.argv[1]) as session, session.open_batch(journal=sys.argv[2]) as batch:
        sys.stdout.write("open")
        sys.stdout.flush()
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_lock_of_a_killed_process_does_not_block(session: ToapisSession, sim: Simulator, path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, sim.base_url, str(path)]
    with anyio.fail_after(60):
        async with await anyio.open_process(command, stdout=PIPE, stderr=None) as holder:
            assert holder.stdout is not None
            assert await holder.stdout.receive() == b"open"
            with pytest.raises(JournalError, match=f"in use by process {holder.pid} since"):
                await session.generate_many([FOX], journal=path)
            assert read_summary(path).counts == {}  # readers need no lock
            holder.kill()
    assert isinstance((await session.generate_many([FOX], journal=path))[0], Completed)


# -- what cannot be used


def not_a_database(path: Path) -> None:
    path.write_bytes(b"this is no database, but it is long enough to be looked at" * 20)


def another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE fox (name TEXT)")


def newer(path: Path) -> None:
    with closing(store.open_to_write(path, "https://toapis.com/v1")) as db:
        db.execute("PRAGMA user_version = 99")


def of_another_service(path: Path) -> None:
    store.open_to_write(path, "https://toapis.cn/v1").close()


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (not_a_database, "not a database"),
        (another_program, "another program's"),
        (newer, "newer version"),
        (of_another_service, r"is of https://toapis.cn/v1, and this session talks to http://127"),
        (a_folder, "cannot be used"),
    ],
)
async def test_what_is_no_journal_of_this_service_is_refused(
    session: ToapisSession, sim: Simulator, path: Path, make: Any, text: str
) -> None:
    make(path)
    with pytest.raises(JournalError, match=text) as caught:
        await session.generate_many([FOX], journal=path)
    assert caught.value.path == path
    assert not sim.requests


async def test_a_folder_that_does_not_exist_is_named(session: ToapisSession, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"nowhere/fox\.db .*No such file"):
        await session.generate_many([FOX], journal=tmp_path / "nowhere" / "fox.db")
    with pytest.raises(JournalError, match="does not exist"):
        read_summary(tmp_path / "fox.db")


async def test_a_damaged_row_closes_the_intake(session: ToapisSession, sim: Simulator, path: Path) -> None:
    await session.generate_many([FOX], journal=path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE jobs SET snapshot = 'half a ta'")
    (outcome,) = await session.generate_many([FOX], journal=path)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, JournalError)
    assert "cannot be read" in str(outcome.error)
    async with session.open_batch(journal=path) as batch:
        with pytest.raises(JournalError, match="cannot be read"):
            batch.submit(FOX)
    assert len(sim.charges) == 1


# -- what breaks while it is used


async def run_until_it_breaks(session: ToapisSession, path: Path, sim: Simulator) -> tuple[list[str | None], str]:
    """Iterate a batch whose journal breaks; every accepted task must be delivered all the same."""
    delivered: list[str | None] = []
    batch = session.open_batch(foxes(400), journal=path, max_in_flight=20)
    with pytest.raises(JournalError) as caught:
        async with batch:
            async for outcome in batch:
                delivered += [outcome.task_id]
    assert {charge.task_id for charge in sim.charges} == set(delivered)
    queued = [job for job in batch.unfinished if job.state is JobState.QUEUED]
    assert len(queued) == len(batch.unfinished)
    for job in queued:
        with pytest.raises(JournalError):
            await job.wait()
    return delivered, str(caught.value)


async def test_a_full_disk_ends_the_sending_and_loses_nothing(
    session: ToapisSession, sim: Simulator, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_write = store.open_to_write

    def small(path: Path, base_url: str) -> sqlite3.Connection:
        db = open_to_write(path, base_url)
        db.execute("PRAGMA max_page_count = 12")
        return db

    with monkeypatch.context() as patch:
        patch.setattr("toapis_async._journal.journal.open_to_write", small)
        delivered, text = await run_until_it_breaks(session, path, sim)
    assert "disk is full" in text
    outcomes = await session.generate_many(foxes(400), journal=path)
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert len(sim.charges) == 400
    assert set(delivered) <= {outcome.task_id for outcome in outcomes}


async def test_a_replaced_file_ends_the_sending_and_loses_nothing(
    session: ToapisSession, sim: Simulator, path: Path
) -> None:
    async def replace() -> None:
        await sim.wait_for_requests("submit", 40)
        path.rename(path.with_suffix(".old"))

    replacing = asyncio.create_task(replace())
    _, text = await run_until_it_breaks(session, path, sim)
    await replacing
    assert "lost fox.db while it was in use" in text


async def test_a_task_that_cannot_be_written_is_named_in_the_log(
    session: ToapisSession, sim: Simulator, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sim.add_fault(faults.delay(0.5, when="after", kind="submit"))

    async def remove() -> None:
        await sim.wait_for_requests("submit", 1)
        path.unlink()

    removing = asyncio.create_task(remove())
    batch = session.open_batch([FOX], journal=path)
    outcomes: list[Outcome] = []
    with pytest.raises(JournalError, match=r"lost fox.db while"):
        async with batch:
            async for outcome in batch:
                outcomes += [outcome]
    await removing
    (outcome,) = outcomes
    assert isinstance(outcome, Completed)
    assert f"Task {outcome.task_id} (client_business_id {outcome.client_business_id}) was accepted, but" in caplog.text
    assert len(sim.charges) == 1


async def test_a_disk_that_was_full_at_the_end_is_told(
    session: ToapisSession, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(db: sqlite3.Connection, changes: list[store.Change]) -> None:
        if any(change.state == "completed" for change in changes):
            raise sqlite3.OperationalError("database or disk is full")
        apply(db, changes)

    apply = store.apply
    monkeypatch.setattr("toapis_async._journal.journal.apply", full)
    with pytest.raises(JournalError, match="disk is full"):
        async with session.open_batch([FOX], journal=path) as batch:
            assert isinstance(await anext(batch), Completed)


# -- cancellation


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("how", ["native", "scope"])
async def test_cancelling_while_it_opens_leaves_no_lock(
    session: ToapisSession, path: Path, steps: int, how: str
) -> None:
    async def use() -> None:
        with scope:
            async with session.open_batch(journal=path):
                await anyio.sleep_forever()

    scope = anyio.CancelScope()
    task = asyncio.create_task(use())
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    if how == "scope":
        scope.cancel()
    else:
        task.cancel()
    await asyncio.wait([task])
    async with session.open_batch(journal=path):
        pass


def test_a_program_that_ends_inside_a_batch_lets_the_journal_go(path: Path) -> None:
    async def main() -> None:
        async def stay() -> None:
            session = ToapisSession("sk-x", base_url="http://127.0.0.1:9")
            async with session, session.open_batch(journal=path):
                entered.set()
                await anyio.sleep_forever()

        entered = asyncio.Event()
        tasks.append(asyncio.create_task(stay()))
        await entered.wait()

    tasks: list[asyncio.Task[None]] = []
    for _ in range(3):
        asyncio.run(main())
    assert all(task.cancelled() for task in tasks)
    assert not any(thread.name == "journal fox.db" for thread in threading.enumerate())
