"""A file on its way: under a temporary name until it is whole, then renamed.

Everything here blocks, but for what it says of itself: it is for worker threads.
"""

from __future__ import annotations

import filecmp
import os
import re
import secrets
import stat
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from attrs import frozen

from .images import EXTENSIONS, check_picture
from .names import Naming

if sys.platform == "win32":

    def _hold(file: BinaryIO) -> None:
        """Nothing to do: an open file cannot be removed there."""

    def _remove_unheld(path: str) -> None:
        Path(path).unlink()

else:
    import fcntl

    def _hold(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _remove_unheld(path: str) -> None:
        with open(path, "rb", opener=_open_itself) as file:
            _hold(file)
            Path(path).unlink()

    def _open_itself(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


_TEMPORARY: Final = re.compile(r"\..+-[0-9a-f]{16}\.part", re.DOTALL)


class Part:
    """A file under its temporary name. Making one does nothing yet; `size` may be read at any time."""

    def __init__(self, directory: Path, stem: str) -> None:
        self._directory = directory
        self._stem = stem
        self._path: Path  # set when the file is made
        self._file: BinaryIO | None = None
        # A cancelled download lets go of the file while a thread may still write it.
        self._lock = threading.Lock()
        self._discarded = False
        self.size = 0
        """Bytes written."""

    def write(self, pieces: Sequence[bytes]) -> None:
        """Append; the folder and the file are made if need be."""
        with self._lock:
            if self._discarded:
                return
            if self._file is None:
                self._file = self._open()
            for piece in pieces:
                self._file.write(piece)
            self.size += sum(map(len, pieces))

    def restart(self) -> None:
        """Forget what was written."""
        with self._lock:
            if self._file is not None and not self._discarded:
                self._file.seek(0)
                self._file.truncate()
            self.size = 0

    def check(self) -> str:
        """Look at what came, flush it to the disk, and return its extension.

        Raises:
            NotAPictureError: it is none.
            CutShortError: its end is missing.

        """
        with self._lock:
            assert self._file is not None
            extension = check_picture(self._file)
            self._file.flush()
            os.fsync(self._file.fileno())
        return extension

    def equals(self, other: Path) -> bool:
        """Whether a file has the same content."""
        return filecmp.cmp(self._path, other, shallow=False)

    def publish(self, target: Path, *, replace: bool) -> bool:
        """Give the file its name; without `replace`, False if there is such a file already."""
        with self._lock:
            assert self._file is not None
            if sys.platform == "win32":
                self._file.close()  # an open file cannot be renamed there
            if replace or not self._link(target):
                if not replace and target.exists():
                    return False
                self._path.replace(target)
            self._file.close()
            self._file = None
        return True

    def _link(self, target: Path) -> bool:
        """Give the file a second name and take away the first: unlike a rename, that replaces nothing."""
        try:
            target.hardlink_to(self._path)
        except OSError:  # there is one, or the file system knows no links
            return False
        self._path.unlink()
        return True

    def discard(self) -> None:
        """Remove the file if it still has its temporary name. May be called at any time, by any thread."""
        with self._lock:
            self._discarded = True
            if self._file is not None:
                with suppress(OSError):  # closing flushes, and a full disk has been reported already
                    self._file.close()
                with suppress(OSError):
                    self._path.unlink(missing_ok=True)

    def _open(self) -> BinaryIO:
        self._directory.mkdir(parents=True, exist_ok=True)
        while True:
            # Another name each time: who sweeps may be about to remove the one before.
            self._path = self._directory / f".{self._stem}-{secrets.token_hex(8)}.part"
            file = self._path.open("x+b")
            try:
                _hold(file)
            except BlockingIOError:  # somebody sweeps, and takes it for one that was left
                self._path.unlink(missing_ok=True)
            except OSError:  # a file system without locks
                return file
            else:
                if os.fstat(file.fileno()).st_nlink:
                    return file
            file.close()


@frozen
class Place:
    """Where one picture belongs."""

    directory: Path
    stem: str
    naming: Naming
    is_known: bool
    """Whether a file of this name can only be this picture."""
    overwrite: bool = False

    def find_or_begin(self, part: Part) -> Path | None:
        """Return the picture if it is there already; else make its temporary file, before anything is fetched."""
        stems = [self.naming.tagged(self.stem), *([self.stem] if self.is_known else [])]
        for stem in [] if self.overwrite else stems:
            if found := self._find(stem):
                return found
        part.write(())
        return None

    def take(self, part: Part, extension: str) -> Path:
        """Put a whole picture where it belongs; one of another task that lies there keeps its name."""
        stem, is_ours = self.stem, self.is_known or self.overwrite
        while True:
            if not is_ours and (other := self._find(stem)):
                if part.equals(other):
                    return other
                stem, is_ours = self.naming.tagged(stem), True
            file = self.directory / f"{stem}{extension}"
            if part.publish(file, replace=is_ours):
                break
            is_ours = self._find(stem) is None  # an empty file, of no worth, or gone again
        for stale in EXTENSIONS:  # one picture, one file: an earlier one may have been of another kind
            if stale != extension:
                (self.directory / f"{stem}{stale}").unlink(missing_ok=True)
        return file

    def _find(self, stem: str) -> Path | None:
        for path in (self.directory / f"{stem}{extension}" for extension in EXTENSIONS):
            with suppress(FileNotFoundError, NotADirectoryError):
                found = path.stat()
                if found.st_size and stat.S_ISREG(found.st_mode):
                    return path
        return None


def sweep(directory: Path) -> None:
    """Remove the temporary files of runs that were killed; those that are being written are held by a lock."""
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if _TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_unheld(entry.path)
