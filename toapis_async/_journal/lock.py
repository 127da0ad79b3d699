"""One writer at a time: a lock on a file beside the journal, which the system lets go when its holder dies."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ..errors import JournalError

if sys.platform == "win32":
    import msvcrt

    _BEYOND_THE_TEXT = 1 << 20  # a locked byte cannot be read by others: lock one that nobody reads

    def _try_lock(descriptor: int) -> None:
        os.lseek(descriptor, _BEYOND_THE_TEXT, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, _BEYOND_THE_TEXT, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave it to a forked child


@contextmanager
def only_writer(path: Path) -> Generator[None]:
    """Hold the lock of the journal at `path`, within this process and across processes.

    The file stays behind: removing it could give two writers a lock each, on different files.

    Raises:
        JournalError: somebody else holds it; the text says who and since when.

    """
    whole = path.resolve()  # whatever name the journal is called by, its lock is the same
    beside = whole.with_name(f"{whole.name}.lock")
    descriptor = _take(beside, path)
    try:
        holder = {
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "note": "Do not remove this file while the journal is in use: it keeps a second writer out.",
        }
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, json.dumps(holder).encode())
        yield
    finally:
        try:
            _unlock(descriptor)
        finally:
            os.close(descriptor)


def _take(beside: Path, path: Path) -> int:
    while True:
        try:
            descriptor = os.open(beside, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise JournalError(f"cannot make its lock {beside.name}: {error.strerror}", path=path) from None
        try:
            _try_lock(descriptor)
        except OSError:
            text = f"is in use by {_holder(descriptor)}"
            os.close(descriptor)
            raise JournalError(text, path=path) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), beside.stat()):
                return descriptor
        os.close(descriptor)  # it was removed meanwhile: whoever comes next would lock another file


def _holder(descriptor: int) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        holder = json.loads(os.read(descriptor, 1000))
        this = " (this process)" if holder["pid"] == os.getpid() else ""
        return f"process {holder['pid']}{this} since {holder['since']}"
    return "another process"
