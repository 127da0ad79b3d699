"""A journal keeps what was learned about how long tasks take, for sessions that do not know it yet."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from learning import KEY, learned, tables_of

from toapis_async import ToapisSession
from toapis_async.testing import Simulator

pytestmark = pytest.mark.anyio
OTHER = KEY._replace(model="other")


def change_stored(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = ? WHERE name = 'life_tables'", (text,))
        db.commit()


@pytest.fixture
async def path(sim: Simulator, tmp_path: Path) -> Path:
    """The journal of a session that has seen five tasks finish."""
    file = tmp_path / "fox.db"
    async with ToapisSession(sim.api_key, base_url=sim.base_url) as session:
        for _ in range(5):
            tables_of(session).table(KEY).note_finished(19, 21)
        await session.generate_many([], journal=file)
    return file


async def test_the_next_session_knows_it(path: Path, session: ToapisSession) -> None:
    assert tables_of(session).to_data() == []
    await session.generate_many([], journal=path)
    assert learned(session) > 4


async def test_what_the_session_knows_itself_stays(path: Path, session: ToapisSession) -> None:
    for key in (KEY, OTHER):
        tables_of(session).table(key).note_finished(9, 10)
    await session.generate_many([], journal=path)
    assert 0.9 < learned(session) <= 1
    with closing(sqlite3.connect(path)) as db:
        (text,) = db.execute("SELECT value FROM meta WHERE name = 'life_tables'").fetchone()
    assert {tuple(key) for key, _ in json.loads(text)} == {KEY, OTHER}


@pytest.mark.parametrize("text", ["half of i", '{"a": 1}', "[[1, 2]]", '[[["image", "m"], {"typical": -1}]]', "null"])
async def test_what_cannot_be_read_is_told_and_not_used(
    path: Path, session: ToapisSession, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    change_stored(path, text)
    with caplog.at_level(logging.WARNING):
        await session.generate_many([], journal=path)
    assert tables_of(session).to_data() == []
    assert "how long tasks take is not used" in caplog.text


async def test_a_disk_that_is_full_at_the_end_ends_no_batch(
    path: Path, session: ToapisSession, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("toapis_async._journal.journal.write_tables", full)
    await session.generate_many([], journal=path)
    assert "is not kept: " in caplog.text
