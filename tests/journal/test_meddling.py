"""What people and machines do to the files of a journal while it is in use."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from journal.conftest import open_session

from toapis_async import Completed, ImageRequest, JobState, JournalError, Outcome, ToapisSession
from toapis_async._journal import read_rows, store
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")


def remove_lock(path: Path) -> None:
    path.with_name("fox.db.lock").unlink()


def remove_log(path: Path) -> None:
    path.with_name("fox.db-wal").unlink()


def empty_log(path: Path) -> None:
    os.truncate(path.with_name("fox.db-wal"), 0)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def replace(path: Path) -> None:
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


@pytest.mark.parametrize("meddle", [remove_lock, remove_log, empty_log, empty, replace])
async def test_nothing_is_sent_after_somebody_meddled_with_the_files(
    session: ToapisSession, sim: Simulator, path: Path, meddle: Callable[[Path], None]
) -> None:
    sim.add_fault(faults.never_finishes(times=None))
    outcomes: list[Outcome] = []
    with anyio.fail_after(30), pytest.raises(JournalError):
        async with session.open_batch([FOX], journal=path) as batch:
            await sim.wait_for_requests("query", 1)
            meddle(path)
            late = [batch.submit(ImageRequest(f"late {number}")) for number in range(3)]
            for job in late:
                with pytest.raises(JournalError):
                    await job.wait()
                assert job.state is JobState.QUEUED
            sim.complete(sim.charges[0].task_id)
            async for outcome in batch:
                outcomes += [outcome]
    (outcome,) = outcomes
    assert isinstance(outcome, Completed)
    assert len(sim.charges) == 1


async def test_a_row_that_is_gone_is_noticed(session: ToapisSession, sim: Simulator, path: Path) -> None:
    sim.add_fault(faults.never_finishes(times=None))
    with anyio.fail_after(30), pytest.raises(JournalError, match="a row is gone"):
        async with session.open_batch([FOX], journal=path) as batch:
            await sim.wait_for_requests("query", 1)
            with closing(sqlite3.connect(path, timeout=10)) as db, db:
                db.execute("DELETE FROM jobs")
            sim.complete(sim.charges[0].task_id)
            async for outcome in batch:
                assert isinstance(outcome, Completed)


async def test_an_emptied_journal_beside_its_log_is_not_taken_for_a_new_one(
    session: ToapisSession, sim: Simulator, path: Path
) -> None:
    path.touch()
    path.with_name("fox.db-wal").write_bytes(b"what was written last")
    with pytest.raises(JournalError, match="was emptied"):
        await session.generate_many([FOX], journal=path)
    assert not sim.requests


@pytest.mark.parametrize("state", ["posting", "submitted", "completed"])
async def test_any_failure_of_writing_is_told_at_once(
    session: ToapisSession, sim: Simulator, path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = store.apply

    def fail(db: sqlite3.Connection, changes: list[store.Change]) -> None:
        if any(change.state == state for change in changes):
            raise MemoryError
        apply(db, changes)

    monkeypatch.setattr("toapis_async._journal.journal.apply", fail)
    delivered: list[Outcome] = []
    with anyio.fail_after(20), pytest.raises(JournalError, match="MemoryError"):
        async with session.open_batch([FOX], journal=path) as batch:
            async for outcome in batch:
                delivered += [outcome]
    assert [outcome.task_id for outcome in delivered] == [charge.task_id for charge in sim.charges]
    assert len(sim.charges) == (state != "posting")


async def test_a_found_task_is_delivered_though_it_cannot_be_written(
    session: ToapisSession, sim: Simulator, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(db: sqlite3.Connection, changes: list[store.Change]) -> None:
        if any(change.state == "submitted" for change in changes):
            raise MemoryError
        apply(db, changes)

    apply = store.apply
    monkeypatch.setattr("toapis_async._journal.journal.apply", fail)
    sim.add_fault(faults.drop(when="after", kind="submit"))
    with anyio.fail_after(20), pytest.raises(JournalError):
        async with session.open_batch([FOX], journal=path) as batch:
            assert isinstance(await anext(batch), Completed)
            await anext(batch)


async def test_the_folder_may_be_changed_while_a_relative_path_is_in_use(
    session: ToapisSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    async with session.open_batch(journal="fox.db") as batch:
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert isinstance(await batch.submit(FOX).wait(), Completed)
    assert len(list(read_rows(tmp_path / "fox.db"))) == 1


def test_a_loop_that_is_closed_without_ado_lets_the_journal_go(path: Path) -> None:
    def stop_inside() -> None:
        async def stay() -> None:
            async with (
                ToapisSession("sk-x", base_url="http://127.0.0.1:9") as session,
                session.open_batch(journal=path),
            ):
                loop.stop()
                await anyio.sleep_forever()

        loop = asyncio.new_event_loop()
        task = loop.create_task(stay())
        loop.run_forever()
        left.append((loop, task))

    async def again() -> None:
        async with ToapisSession("sk-x", base_url="http://127.0.0.1:9") as session:
            with anyio.fail_after(20):
                while True:
                    try:
                        async with session.open_batch(journal=path):
                            return
                    except JournalError:
                        await anyio.lowlevel.checkpoint()

    left: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []
    stop_inside()
    ((loop, task),) = left
    close = loop.is_closed
    loop.is_closed = lambda: True  # type: ignore[method-assign]
    asyncio.run(again())
    loop.is_closed = close  # type: ignore[method-assign]
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


# -- ids and keys


async def test_an_id_that_an_earlier_run_used_for_another_request_is_refused(
    session: ToapisSession, sim: Simulator, path: Path
) -> None:
    await session.generate_many([("k1", ImageRequest("a fox", client_business_id="mine"))], journal=path)
    async with open_session(sim) as another:
        (outcome,) = await another.generate_many(
            [("k2", ImageRequest("an owl", client_business_id="mine"))], journal=path
        )
    assert "'mine' was used before, for 'k1'" in str(getattr(outcome, "error", None))
    assert len(sim.charges) == 1


async def test_a_bad_item_takes_no_key_that_somebody_may_want(session: ToapisSession, path: Path) -> None:
    items = [("dup", FOX), ("dup", ImageRequest("another fox")), ("0", ImageRequest("an owl"))]
    outcomes = await session.generate_many(items, journal=path)
    assert [outcome.key for outcome in outcomes] == ["dup", "dup-2", "0"]
    assert [outcome.state for outcome in outcomes] == [JobState.COMPLETED, JobState.FAILED, JobState.COMPLETED]


async def test_references_are_no_results_in_a_replay_either(session: ToapisSession, sim: Simulator, path: Path) -> None:
    reference = "https://a.example/cat.png"
    request = ImageRequest("a fox", images=[reference])
    (first,) = await session.generate_many([request], journal=path)
    with closing(sqlite3.connect(path)) as db, db:
        snapshot = db.execute("SELECT snapshot FROM jobs").fetchone()[0]
        url = first.unwrap().images[0].url
        db.execute(
            "UPDATE jobs SET snapshot = ?",
            (snapshot.replace(f'"{url}"', f'"{url}"}}, {{"url": "{reference}"'),),
        )
    (second,) = await session.generate_many([request], journal=path)
    assert [image.url for image in second.unwrap().images] == [url]


async def test_a_model_without_a_channel_is_tried_by_the_next_run(
    session: ToapisSession, sim: Simulator, path: Path
) -> None:
    sim.add_fault(faults.error(503, "model_not_found", kind="submit"))
    await session.generate_many([FOX], journal=path)
    (again,) = await session.generate_many([FOX], journal=path)
    assert isinstance(again, Completed)
