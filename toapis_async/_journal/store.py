"""The SQLite file: its schema, how it is opened and checked, and what is read from it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

from attrs import frozen

from ..errors import JournalError
from ..models import GenerationTask, TaskStatus
from .errors import journal_errors
from .rows import STATES, Row, RowState, error_from_text, request_from_text, task_from_text, time_of
from .uploads import UPLOADS_SCHEMA, Upload, add_uploads

_APPLICATION: Final = 0x746F6170  # "toap", by which `file` and we tell a journal from other databases
_VERSION: Final = 1
_BUSY_SECONDS: Final = 10.0  # for a reader's checkpoint, or somebody's hand in the file
_SCHEMA: Final = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    request TEXT NOT NULL,
    digest TEXT NOT NULL CHECK (length(digest) = 32),
    state TEXT NOT NULL CHECK (state IN ({", ".join(repr(state) for state in STATES)})),
    client_business_id TEXT NOT NULL CHECK (client_business_id <> ''),
    earlier_ids TEXT NOT NULL DEFAULT '[]',
    task_id TEXT CHECK (task_id <> ''),
    snapshot TEXT,
    error TEXT,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    CHECK (state NOT IN ('submitted', 'completed') OR task_id IS NOT NULL),
    CHECK (state <> 'completed' OR snapshot IS NOT NULL),
    CHECK (state <> 'failed' OR error IS NOT NULL OR snapshot IS NOT NULL)
);
CREATE INDEX jobs_by_client_business_id ON jobs (client_business_id);
{UPLOADS_SCHEMA}PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""


class Change(NamedTuple):
    """A new row, or new values for one."""

    updated_at: float
    key: str
    state: RowState
    client_business_id: str
    request: str | None = None
    """Of a new row."""
    digest: str | None = None
    """Of a new row."""
    earlier_ids: str = "[]"
    task_id: str | None = None
    snapshot: str | None = None
    error: str | None = None


# A group of changes is one statement: several would hand the interpreter back and forth between the threads for
# each row, which costs the event loop more than the rows do.
_CHANGES: Final = f"""
CREATE TEMP VIEW changes AS SELECT {", ".join(Change._fields)} FROM main.jobs;
CREATE TEMP TRIGGER make INSTEAD OF INSERT ON changes WHEN NEW.request IS NOT NULL BEGIN
    INSERT INTO jobs
        (key, request, digest, state, client_business_id, earlier_ids, task_id, snapshot, error, created_at, updated_at)
    VALUES (NEW.key, NEW.request, NEW.digest, NEW.state, NEW.client_business_id, NEW.earlier_ids,
        NEW.task_id, NEW.snapshot, NEW.error, NEW.updated_at, NEW.updated_at);
END;
CREATE TEMP TRIGGER change INSTEAD OF INSERT ON changes WHEN NEW.request IS NULL BEGIN
    SELECT RAISE(ABORT, 'a row is gone') WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE key = NEW.key);
    UPDATE jobs
    SET state = NEW.state, client_business_id = NEW.client_business_id, earlier_ids = NEW.earlier_ids,
        task_id = NEW.task_id, snapshot = NEW.snapshot, error = NEW.error, updated_at = NEW.updated_at
    WHERE key = NEW.key;
END;
"""  # noqa: S608 - constants
_APPLY: Final = "INSERT INTO changes SELECT {} FROM json_each(?)".format(  # noqa: S608 - constants
    ", ".join(f"json_extract(value, '$[{column}]')" for column in range(len(Change._fields)))
)
_COLUMNS: Final = "key, request, digest, state, client_business_id, earlier_ids, task_id, snapshot, error, updated_at"


def open_to_write(path: Path, base_url: str) -> sqlite3.Connection:
    """Open the journal of `base_url`, made anew where there is none. The caller holds its lock.

    Raises:
        JournalError: it cannot be opened, is no journal, of a newer version, or of another service.

    """
    with journal_errors(path):
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            _sync_folder(path.parent)
        log = path.with_name(f"{path.name}-wal")
        if not path.stat().st_size and log.exists() and log.stat().st_size:
            raise JournalError(f"was emptied, though {log.name} holds what was written last", path=path)
        db = _connect(path, "rw")
        try:
            if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                _create(db, base_url)
            _check(db, path)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            known = dict(db.execute("SELECT name, value FROM meta").fetchall())
            db.executescript(_CHANGES)
            if known["base_url"] != base_url:
                text = f"is of {known['base_url']}, and this session talks to {base_url}"
                raise JournalError(text, path=path)  # noqa: TRY301 - closes the connection too
        except BaseException:
            db.close()
            raise
        return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open an existing journal for reading, which needs no lock.

    Raises:
        JournalError: it cannot be opened, or is no journal.

    """
    with journal_errors(path):
        if not path.exists():
            raise JournalError("does not exist", path=path)
        db = _connect(path, "ro")
        try:
            _check(db, path)
        except BaseException:
            db.close()
            raise
        return db


def apply(db: sqlite3.Connection, changes: Sequence[Change | Upload]) -> None:
    """Put changes on disk, all or none. Of several changes of one row, only the last state is written."""
    uploads = [change for change in changes if isinstance(change, Upload)]
    if uploads:  # on disk before the rows that use them, and worth something alone
        add_uploads(db, uploads)
    rows: dict[str, Change] = {}
    for change in changes:
        if isinstance(change, Upload):
            continue
        earlier = rows.get(change.key)
        if earlier and earlier.request is not None:
            change = change._replace(request=earlier.request, digest=earlier.digest)  # noqa: PLW2901 - still new
        rows[change.key] = change
    if rows:
        db.execute(_APPLY, (json.dumps([*rows.values()]),))  # one statement, so one transaction


def read_tables(db: sqlite3.Connection) -> str | None:
    """Return what an earlier run learned about how long tasks take, as JSON."""
    rows = db.execute("SELECT value FROM meta WHERE name = 'life_tables'").fetchall()
    return rows[0][0] if rows else None


def write_tables(db: sqlite3.Connection, text: str) -> None:
    """Keep, as JSON, what was learned about how long tasks take."""
    db.execute("INSERT OR REPLACE INTO meta VALUES ('life_tables', ?)", (text,))


def find_row(db: sqlite3.Connection, path: Path, key: str) -> Row | None:
    """Return the row of a key."""
    with journal_errors(path):
        # All of them: a statement with rows left would keep the file's log from being folded in.
        rows = db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE key = ?", (key,)).fetchall()  # noqa: S608 - a constant
        return _row(rows[0]) if rows else None


def find_key_of(db: sqlite3.Connection, path: Path, client_business_id: str) -> str | None:
    """Return the key of a row that uses an id."""
    with journal_errors(path):
        statement = "SELECT key FROM jobs WHERE client_business_id = ? LIMIT 1"
        rows = db.execute(statement, (client_business_id,)).fetchall()
        return rows[0][0] if rows else None


def read_rows(path: Path) -> Generator[Row]:
    """Read all rows in the order in which they were made, a few at a time.

    Raises:
        JournalError: it cannot be read.

    """
    with closing(open_to_read(path)) as db, journal_errors(path):
        last = 0
        while rows := db.execute(
            f"SELECT number, {_COLUMNS} FROM jobs WHERE number > ? ORDER BY number LIMIT 100",  # noqa: S608 - a constant
            (last,),
        ).fetchall():
            for number, *columns in rows:
                last = number
                yield _row(columns)


@frozen(kw_only=True)
class Summary:
    """What a journal holds, at a glance."""

    base_url: str
    counts: dict[str, int]
    """Rows in each state that has any, in the order in which states follow each other."""


def read_summary(path: Path) -> Summary:
    """Count the rows of a journal.

    Raises:
        JournalError: it cannot be read.

    """
    with closing(open_to_read(path)) as db, journal_errors(path):
        found = dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        base_url = db.execute("SELECT value FROM meta WHERE name = 'base_url'").fetchall()[0][0]
        return Summary(base_url=base_url, counts={state: found[state] for state in STATES if state in found})


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _create(db: sqlite3.Connection, base_url: str) -> None:
    db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}")
    db.execute("INSERT INTO meta VALUES ('base_url', ?)", (base_url,))
    db.execute("COMMIT")


def _check(db: sqlite3.Connection, path: Path) -> None:
    if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise JournalError("is empty: the program that made it ended at once", path=path)
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != _APPLICATION:
        raise JournalError("is another program's database", path=path)
    if version > _VERSION:
        raise JournalError(f"was made by a newer version (its form is {version}, known is {_VERSION})", path=path)


def _row(columns: Sequence[Any]) -> Row:
    key, request, digest, state, client_business_id, earlier_ids, task_id, snapshot, error, updated_at = columns
    task = None
    if snapshot:
        task = task_from_text(snapshot, task_id or client_business_id, is_completed=state == "completed")
    elif task_id:
        task = GenerationTask(id=task_id, status=TaskStatus.QUEUED)
    return Row(
        key=key,
        request=request_from_text(request),
        digest=digest,
        state=state,
        client_business_id=client_business_id,
        earlier_ids=tuple(json.loads(earlier_ids)),
        task_id=task_id,
        task=task,
        error=error_from_text(error, task) if state == "failed" else None,
        updated_at=time_of(updated_at),
    )


def _sync_folder(folder: Path) -> None:
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
