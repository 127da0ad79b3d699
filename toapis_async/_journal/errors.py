"""What the file system and SQLite say, as the one error of a journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..errors import JournalError


@contextmanager
def journal_errors(path: Path) -> Generator[None]:
    """Turn what SQLite and the file system say into `JournalError`."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise JournalError(f"cannot be used: {error}", path=path) from error
    except OSError as error:
        raise JournalError(f"cannot be used: {error.strerror or error}", path=path) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise JournalError(f"holds what cannot be read ({type(error).__name__}: {error})", path=path) from error
