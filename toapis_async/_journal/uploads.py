"""Which pictures have a URL: what one run uploaded, the next need not upload again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from .._files.uploads import Link
from .errors import journal_errors

UPLOADS_SCHEMA: Final = """
CREATE TABLE uploads (
    number INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    url TEXT NOT NULL,
    noted_at REAL NOT NULL
);
CREATE INDEX uploads_by_sha256 ON uploads (sha256);
"""
_ADD: Final = """
INSERT INTO uploads (noted_at, sha256, url)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?)
"""


class Upload(NamedTuple):
    """The URL that a picture has got."""

    noted_at: float
    sha256: str
    url: str


def add_uploads(db: sqlite3.Connection, uploads: list[Upload]) -> None:
    """Put uploads on disk, all or none."""
    db.execute(_ADD, (json.dumps(uploads),))


class Uploads:
    """What a journal knows of uploads. All methods are called in the event loop's thread."""

    def __init__(
        self, path: Path, reader: Callable[[], sqlite3.Connection | None], write: Callable[[Upload], None]
    ) -> None:
        self._path = path
        self._reader = reader
        self._write = write
        self._noted: set[tuple[str, str]] = set()

    def urls_of(self, sha256: str | None) -> tuple[str, ...]:
        """Return all URLs that earlier runs had for a picture, the newest last.

        Raises:
            JournalError: the journal cannot be read.

        """
        return tuple(url for url, _ in self._find(sha256))

    def recent(self, sha256: str) -> Link | None:
        """Return the URL of a picture, unless it may be gone from the service.

        Raises:
            JournalError: the journal cannot be read.

        """
        found = (Link(url, since) for url, since in reversed(self._find(sha256)))
        return next((link for link in found if link.is_recent), None)

    def note(self, sha256: str, link: Link) -> None:
        """Record that a picture has a URL, once for all who share it; in order, but not at once."""
        if (sha256, link.url) not in self._noted:
            self._noted.add((sha256, link.url))
            if link not in self._find(sha256):
                self._write(Upload(link.since, sha256, link.url))

    def _find(self, sha256: str | None) -> list[tuple[str, float]]:
        reader = self._reader()
        if reader is None:
            return []
        with journal_errors(self._path):
            statement = "SELECT url, noted_at FROM uploads WHERE sha256 = ? ORDER BY number"
            return reader.execute(statement, (sha256,)).fetchall()
