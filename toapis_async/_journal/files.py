"""Whether the files of an open journal are still what they were: people move, replace, empty and remove files."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import JournalError


class Files:
    """The database, its log and its lock. None of them is replaced or gets shorter while we write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        whole = path.resolve()  # the program may change its folder
        self._all = [f"{whole}{ending}" for ending in ("", "-wal", ".lock")]
        self._seen: dict[str, tuple[int, int, int]] = {}
        self.check()

    def check(self) -> None:
        """Compare with what was there the last time.

        Raises:
            JournalError: what was written may be lost, or somebody else may write.

        """
        for path in self._all:
            before = self._seen.get(path)
            try:
                found = os.stat(path)  # noqa: PTH116 - of text it takes a third of the time
            except FileNotFoundError:
                if before:
                    raise JournalError(f"lost {Path(path).name} while it was in use", path=self._path) from None
                continue
            now = (found.st_dev, found.st_ino, found.st_size)
            if before and (now[:2] != before[:2] or now[2] < before[2]):
                text = f"cannot be trusted: {Path(path).name} was replaced or cut while it was in use"
                raise JournalError(text, path=self._path)
            self._seen[path] = now
