"""The journal of one batch: rows gather in the event loop while one thread commits those before them.

A write that money depends on is awaited; the others follow in order. The thread opens, locks and closes the
file itself, so that a cancelled wait leaves nothing open.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias

import anyio

from .._schedule.adaptive import LifeTables
from ..errors import JournalError
from .errors import journal_errors
from .files import Files
from .lock import only_writer
from .rows import Row
from .store import Change, apply, find_key_of, find_row, open_to_read, open_to_write, read_tables, write_tables
from .uploads import Upload, Uploads

_logger = logging.getLogger("toapis_async")

_GATHER_SECONDS: Final = 0.05
_LARGEST_GROUP: Final = 1000
_LOOK_SECONDS: Final = 1.0  # between two looks at whether the event loop is still there
_CLOSE_SECONDS: Final = 30.0  # for the last commit, on a disk that is slow
_Done: TypeAlias = asyncio.Future[JournalError | None]
_Write: TypeAlias = tuple[Change | Upload, _Done | None]


class Journal:
    """The open journal. All methods are called in the event loop's thread."""

    def __init__(
        self, path: Path, base_url: str, *, tables: LifeTables, on_failure: Callable[[JournalError], None]
    ) -> None:
        self.path = path
        self._tables = tables
        self._stored_tables: str | None = None
        self._base_url = base_url
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._gathered: list[_Write] = []
        self._is_urgent = False  # whether somebody waits for one of them, or they are many
        self._is_busy = False  # whether the thread has a group
        self._is_closing = False
        self._is_soon = False  # whether the next group is handed over at the end of this step of the loop
        self._timer: asyncio.TimerHandle | None = None  # or, if nobody waits for it, in a moment
        self._groups: SimpleQueue[list[_Write] | None] = SimpleQueue()
        self._opened: _Done = self._loop.create_future()
        self._closed: _Done = self._loop.create_future()
        self._failure: JournalError | None = None
        self._reader: sqlite3.Connection | None = None
        self.uploads: Final = Uploads(path, lambda: self._reader, self.write)
        # A daemon: a program that dies does not wait for it, and a commit is whole or not there.
        self._thread = threading.Thread(target=self._run, name=f"journal {path.name}", daemon=True)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Journal]:
        """Hold the journal open and locked; everything written is on disk at the end.

        Raises:
            JournalError: it cannot be opened, or somebody else writes it.

        """
        self._thread.start()
        try:
            if error := await self._opened:
                raise error
            self._restore_tables()
            try:
                yield self
            finally:
                self._stored_tables = json.dumps(self._tables.to_data())
        finally:
            self._close()
            # In a child: a shield in this task would not stop a native cancellation.
            async with anyio.create_task_group() as group:
                group.start_soon(self._until_closed)

    def find(self, key: str) -> Row | None:
        """Return what an earlier run knew about a key. Reads one row, in about 50 microseconds.

        Raises:
            JournalError: the journal cannot be read.

        """
        return find_row(self._reader, self.path, key) if self._reader else None

    def find_key_of(self, client_business_id: str) -> str | None:
        """Return the key under which an earlier run used an id.

        Raises:
            JournalError: the journal cannot be read.

        """
        return find_key_of(self._reader, self.path, client_business_id) if self._reader else None

    def write(self, change: Change | Upload, done: _Done | None = None) -> None:
        """Write in order, without waiting for it."""
        self._gathered.append((change, done))
        self._is_urgent = self._is_urgent or done is not None or len(self._gathered) >= _LARGEST_GROUP
        self._plan()

    async def write_durably(self, change: Change, *, within: float | None = None) -> None:
        """Write and wait, at most `within` seconds, until it is on disk.

        Neither the end of that time nor cancelling the wait takes the write back.

        Raises:
            JournalError: it is not on disk.

        """
        if self._is_closing:
            raise JournalError("is closed", path=self.path)
        done: _Done = self._loop.create_future()
        self.write(change, done)
        limit = self._loop.call_later(within, self._give_up, done, within) if within is not None else None
        try:
            error = await done
        finally:
            if limit:
                limit.cancel()
        if error:
            raise JournalError(error.reason, path=self.path)

    def _give_up(self, done: _Done, seconds: float) -> None:
        _set(done, JournalError(f"has not put a row on disk within {seconds:g} s", path=self.path))

    def _plan(self) -> None:
        """Have the next group handed over: after this step of the loop if it is urgent, else in a moment."""
        if self._is_busy or self._is_closing or self._is_soon or not self._gathered:
            return
        if self._is_urgent:
            self._is_soon = True
            self._loop.call_soon(self._hand_over)
        elif self._timer is None:
            self._timer = self._loop.call_later(_GATHER_SECONDS, self._hand_over)

    def _hand_over(self) -> None:
        self._is_soon = False
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not self._is_busy and self._gathered:
            self._put_group()

    def _put_group(self) -> None:
        self._is_busy = True
        self._groups.put(self._gathered[:_LARGEST_GROUP])
        del self._gathered[:_LARGEST_GROUP]
        self._is_urgent = bool(self._gathered)

    def _settle(self, group: list[_Write], error: JournalError | None) -> None:
        self._is_busy = False
        for _, done in group:
            if done:
                _set(done, error)
        self._plan()

    def _close(self) -> None:
        self._is_closing = True
        if self._timer:
            self._timer.cancel()
        while self._gathered:
            self._put_group()
        self._groups.put(None)

    def _restore_tables(self) -> None:
        try:
            if self._stored_tables:
                self._tables.restore(json.loads(self._stored_tables))
        except ValueError as error:
            _logger.warning("What the journal %s says of how long tasks take is not used: %s", self.path, error)

    async def _until_closed(self) -> None:
        with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
            await asyncio.wait([self._closed])
            self._thread.join()  # it was its last act to say so
            return
        self._on_failure(JournalError(f"was not written to its end within {_CLOSE_SECONDS:g} s", path=self.path))

    # -- in the thread

    def _run(self) -> None:
        try:
            with only_writer(self.path), closing(open_to_write(self.path, self._base_url)) as db:
                if db.execute("SELECT EXISTS (SELECT 1 FROM jobs)").fetchone()[0]:  # else there is nothing to find
                    self._reader = open_to_read(self.path)
                self._files = Files(self.path)
                self._stored_tables = read_tables(db)
                self._tell(self._opened, None)
                try:
                    self._serve(db)
                    self._keep_tables(db)
                finally:
                    if self._reader:
                        self._reader.close()
        except JournalError as error:
            self._tell(self._opened, error)
        except Exception as error:
            _logger.exception("The journal %s could not be opened", self.path)
            self._tell(self._opened, JournalError(f"cannot be used: {error!r}", path=self.path))
        finally:
            self._tell(self._closed, None)

    def _serve(self, db: sqlite3.Connection) -> None:
        while group := self._next_group():
            if self._failure is None:
                try:
                    with journal_errors(self.path):
                        self._files.check()
                        apply(db, [change for change, _ in group])
                except JournalError as error:
                    self._fail(error)
                except Exception as error:  # whoever waits must hear of it
                    _logger.exception("The journal %s could not be written", self.path)
                    self._fail(JournalError(f"cannot be written: {error!r}", path=self.path))
            self._call(self._settle, group, self._failure)

    def _keep_tables(self, db: sqlite3.Connection) -> None:
        if self._failure is None and self._stored_tables:
            try:
                with journal_errors(self.path):
                    self._files.check()
                    write_tables(db, self._stored_tables)
            except JournalError as error:
                _logger.warning("What was learned about how long tasks take is not kept: %s", error)

    def _fail(self, error: JournalError) -> None:
        self._failure = error
        self._call(self._on_failure, error)

    def _next_group(self) -> list[_Write] | None:
        while True:
            with suppress(Empty):
                return self._groups.get(timeout=_LOOK_SECONDS)
            if self._loop.is_closed():  # nobody is left who would end this
                return None

    def _tell(self, future: _Done, error: JournalError | None) -> None:
        self._call(_set, future, error)

    def _call(self, function: Callable[..., None], *values: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is there to be told
            self._loop.call_soon_threadsafe(function, *values)


def _set(future: _Done, error: JournalError | None) -> None:
    if not future.done():
        future.set_result(error)
