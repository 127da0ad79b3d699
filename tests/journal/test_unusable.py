"""A journal that cannot be used, from the start or in the middle: nothing is sent that is not in it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from journal.common import FOX, foxes

from toapis_async import Completed, Failed, JobState, JournalError, Outcome, ToapisSession
from toapis_async._journal import read_summary, store
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio


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
