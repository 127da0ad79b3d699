"""A disk that hangs, and an event loop that is held up, while a journal is written."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from journal.common import FOX, foxes

from toapis_async import Completed, JournalError, RateLimits, ToapisSession, Unresolved
from toapis_async._journal import Journal, read_rows, read_summary, store
from toapis_async._schedule.adaptive import LifeTables
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio


def hang_at(state: str, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let the disk hang when a row enters a state, until the event that is returned is set."""
    apply = store.apply
    going_on = threading.Event()

    def hang(db: sqlite3.Connection, changes: list[store.Change]) -> None:
        if any(change.state == state for change in changes):
            going_on.wait(20)
        apply(db, changes)

    monkeypatch.setattr("toapis_async._journal.journal.apply", hang)
    return going_on


@pytest.mark.parametrize("lost", [False, True])
async def test_a_disk_that_hangs_holds_up_no_accepted_task_for_long(
    session: ToapisSession,
    sim: Simulator,
    path: Path,
    lost: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    going_on = hang_at("submitted", monkeypatch)
    monkeypatch.setattr("toapis_async._journal.entry._WRITE_SECONDS", 0.1)
    if lost:
        sim.add_fault(faults.drop(when="after", kind="submit"))
    async with session.open_batch([FOX], journal=path) as batch:
        with anyio.fail_after(10):
            outcome = await anext(batch)
        going_on.set()
    assert isinstance(outcome, Completed)
    assert f"Task {outcome.task_id}" in caplog.text
    assert "not put a row on disk within 0.1 s" in caplog.text
    assert [row.state for row in read_rows(path)] == ["completed"]


async def test_a_disk_that_hangs_before_the_request_is_sent_is_waited_for_no_longer_than_the_shield_lasts(
    session: ToapisSession, sim: Simulator, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = hang_at("posting", monkeypatch)
    monkeypatch.setattr("toapis_async._submission.submitter.SHIELD_SECONDS", 0.1)
    async with session.open_batch([FOX], journal=path) as batch:
        with anyio.fail_after(10):
            outcome = await anext(batch)
        going_on.set()
    assert isinstance(outcome, Unresolved)
    assert "Not done within 0.1 s" in str(outcome.error)
    assert not sim.charges


async def test_a_sender_that_is_killed_while_the_disk_hangs_keeps_its_task(
    session: ToapisSession,
    sim: Simulator,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def hang(*_: Any) -> None:
        sender = asyncio.current_task()
        assert sender is not None
        sender.cancel()
        await anyio.sleep(20)

    monkeypatch.setattr("toapis_async._submission.submitter.note_accepted", hang)
    outcome = None
    with pytest.raises(RuntimeError, match="cancelled from outside"):
        async with session.open_batch([FOX], journal=path) as batch:
            outcome = await anext(batch)
    assert isinstance(outcome, Completed)
    assert [charge.task_id for charge in sim.charges] == [outcome.task_id]
    assert "may have been accepted" not in caplog.text


async def test_a_batch_may_be_cancelled_while_the_disk_hangs_before_it_is_open(
    session: ToapisSession, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = threading.Event()

    def hang(*values: Any) -> sqlite3.Connection:
        going_on.wait(20)
        return store.open_to_write(*values)

    monkeypatch.setattr("toapis_async._journal.journal.open_to_write", hang)
    monkeypatch.setattr("toapis_async._journal.journal._CLOSE_SECONDS", 0.1)
    threads = threading.active_count()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), session.open_batch([FOX], journal=path):
            pass
    going_on.set()
    while threading.active_count() > threads:
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize(("is_late", "least", "most"), [(True, 4.5, 6.0), (False, 0.0, 1.0)])
async def test_a_request_that_the_disk_held_up_after_its_turn_is_counted_again(
    sim: Simulator, path: Path, is_late: bool, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = hang_at("posting", monkeypatch)
    monkeypatch.setattr("toapis_async._submission.submitter._LATE_SECONDS", 0.0 if is_late else 60.0)
    limits = RateLimits(submit_per_second=1, submit_burst=5)
    async with (
        ToapisSession(sim.api_key, base_url=sim.base_url, limits=limits) as session,
        session.open_batch(foxes(5), journal=path) as batch,
    ):
        with anyio.fail_after(10):
            while batch.progress.posting < 5:
                await anyio.lowlevel.checkpoint()
            going_on.set()
            await sim.wait_for_requests("submit", 5)
        submits = batch._submitter._dispatcher.submits  # pyright: ignore[reportPrivateUsage]
        seconds = submits.pacer.delay(asyncio.get_running_loop().time())
    assert least <= seconds <= most


async def test_a_row_on_disk_that_a_loop_held_up_has_not_told_of_is_on_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    time, held_up = loop.time, 0.0
    settle = Journal._settle  # pyright: ignore[reportPrivateUsage]

    def settle_late(*values: Any) -> None:
        nonlocal held_up
        held_up = 60.0
        settle(*values)

    monkeypatch.setattr(loop, "time", lambda: time() + held_up)
    monkeypatch.setattr(Journal, "_settle", settle_late)
    changes = [store.Change(0.0, str(number), "queued", f"id{number}", "{}", "0" * 32) for number in range(20)]
    failures: list[JournalError] = []
    journal = Journal(path, "https://a.example", tables=LifeTables(), on_failure=failures.append)
    async with journal.open():
        await asyncio.gather(*(journal.write_durably(change, within=30) for change in changes))
    assert read_summary(path).counts == {"queued": 20}
    assert not failures


async def test_a_journal_that_cannot_be_closed_in_time_is_told(
    session: ToapisSession, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = store.apply
    going_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(db: sqlite3.Connection, changes: list[store.Change]) -> None:
        if any(change.state == "completed" for change in changes):
            asyncio.run_coroutine_threadsafe(going_on.wait(), loop).result(20)
        apply(db, changes)

    monkeypatch.setattr("toapis_async._journal.journal.apply", hang)
    monkeypatch.setattr("toapis_async._journal.journal._CLOSE_SECONDS", 0.1)
    with pytest.raises(JournalError, match=r"not written to its end within 0\.1 s"):
        async with session.open_batch([FOX], journal=path) as batch:
            assert isinstance(await anext(batch), Completed)
    going_on.set()
    with anyio.fail_after(20):
        while [row.state for row in read_rows(path)] != ["completed"]:
            await anyio.lowlevel.checkpoint()


async def test_ends_are_written_though_more_come_all_the_time(
    session: ToapisSession, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toapis_async._journal.journal._LARGEST_GROUP", 1_000_000)
    async with session.open_batch([FOX], journal=path) as batch:
        assert isinstance(await anext(batch), Completed)
        journal = batch._intake.journal  # pyright: ignore[reportPrivateUsage]
        assert journal is not None
        (row,) = read_rows(path)
        change = store.Change(0.0, row.key, "posting", "id-0")
        with anyio.fail_after(20):
            while not row.client_business_id.startswith("id-"):
                change = change._replace(client_business_id="id-1")
                journal.write(change)  # again and again, each before the last has been waited for
                await anyio.lowlevel.checkpoint()
                (row,) = read_rows(path)
