"""Result URLs to files: streamed to a temporary name, checked, flushed, renamed.

Result hosts are reached by an aiohttp session of its own, without key, cookies or headers of the user's.
"""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

from .._schedule.backoff import Backoff
from ..errors import DownloadError
from ..models import GenerationTask
from .images import EXTENSIONS, SIGNATURE_BYTES, extension_of, safe_stem

if TYPE_CHECKING:
    import aiohttp

_ATTEMPTS: Final = 4
_BACKOFF: Final = Backoff(initial=0.5, factor=2.0, maximum=10.0)
_LARGEST_FILE: Final = 200 * 1024 * 1024  # bytes
_CHUNK: Final = 256 * 1024  # bytes handed to the writing thread at once
_CONNECT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 60.0  # without a single byte
_LONGEST_SECONDS: Final = 1800.0  # for one attempt at one picture, however it trickles
_REDIRECTS: Final = 5


class _Failure(Exception):
    """One attempt failed."""

    def __init__(self, reason: str, *, http_status: int | None = None, passing: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.http_status = http_status
        self.passing = passing
        """Whether another attempt may fare better."""


class Downloader:
    """Saves pictures for one session."""

    def __init__(self) -> None:
        self._http: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections to result hosts."""
        if self._http is not None:
            await self._http.close()

    async def save(self, task: GenerationTask, directory: Path, *, overwrite: bool) -> tuple[Path, ...]:
        """See `ToapisSession.download`."""
        if not task.images:
            reason = f"the task has none (its status is {task.raw_status or task.status!r})"
            raise DownloadError("", reason).about(task=task)
        stem = safe_stem(task.id)
        files: list[Path] = []
        for index, image in enumerate(task.images):
            try:
                files.append(await self._save_one(image.url, directory, f"{stem}-{index}", overwrite=overwrite))
            except _Failure as error:
                failure = DownloadError(image.url, error.reason, http_status=error.http_status, files=files)
            except OSError as error:
                failure = DownloadError(image.url, f"cannot write to {directory}: {error}", files=files)
            else:
                continue
            raise failure.about(task=task)
        return tuple(files)

    async def _save_one(self, url: str, directory: Path, stem: str, *, overwrite: bool) -> Path:
        if not overwrite:
            existing = await to_thread.run_sync(_find, directory, stem)
            if existing is not None:
                return existing
        attempt = 0
        while True:
            try:
                return await self._fetch(url, directory, stem)
            except _Failure as error:
                attempt += 1
                if not error.passing or attempt >= _ATTEMPTS:
                    raise
            await anyio.sleep(_BACKOFF.wait(attempt - 1, lambda: 0.5))

    async def _fetch(self, url: str, directory: Path, stem: str) -> Path:
        part = _Part(directory, stem)
        try:
            scheme = _scheme(url)
            if scheme == "data":
                part.write(_decode_data_uri(url))
            elif scheme in {"http", "https"}:
                await self._stream(url, part)
            else:
                raise _Failure(f"{scheme or 'no scheme'} is not http or https", passing=False)
            return await to_thread.run_sync(part.publish)
        finally:
            part.discard()

    async def _stream(self, url: str, part: _Part) -> None:
        try:
            async with (
                asyncio.timeout(_LONGEST_SECONDS),
                self._session().get(url, max_redirects=_REDIRECTS) as response,
            ):
                _check_status(response)
                while piece := await _next_piece(response):
                    await to_thread.run_sync(part.write, piece)
        except ValueError as error:  # a URL that is none: also one of aiohttp's own errors, so it comes first
            raise _Failure(f"{type(error).__name__}: {error}", passing=False) from None
        except (_client_error(), TimeoutError) as error:
            raise _Failure(f"{type(error).__name__}: {error}", passing=True) from None

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            import aiohttp  # noqa: PLC0415 - see _http/transport.py

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
            self._http = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self._http


async def _next_piece(response: aiohttp.ClientResponse) -> bytes:
    """Read about `_CHUNK` bytes; nothing at the end."""
    pieces = bytearray()
    while len(pieces) < _CHUNK and (piece := await response.content.readany()):
        pieces += piece
    return bytes(pieces)


def _client_error() -> type[Exception]:
    import aiohttp  # noqa: PLC0415 - see _http/transport.py

    return aiohttp.ClientError


def _check_status(response: Any) -> None:
    if response.status != 200:
        passing = response.status >= 500 or response.status in {408, 425, 429}
        raise _Failure(f"HTTP {response.status}", http_status=response.status, passing=passing)


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError as error:
        raise _Failure(f"the URL is none: {error}", passing=False) from None


def _decode_data_uri(url: str) -> bytes:
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except ValueError as error:
        raise _Failure(f"the data URI holds no base64: {error}", passing=False) from None


def _find(directory: Path, stem: str) -> Path | None:
    for path in (directory / f"{stem}{extension}" for extension in EXTENSIONS):
        with suppress(FileNotFoundError):
            if path.stat().st_size:
                return path
    return None


class _Part:
    """A file under its temporary name. `write` and `publish` block, and run in a worker thread."""

    def __init__(self, directory: Path, stem: str) -> None:
        # Made in the caller's step: a cancelled wait for a thread would leave a file that nobody knows.
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / f".{stem}-{secrets.token_hex(4)}.part"
        self._file: BinaryIO = self._path.open("xb")
        self._directory = directory
        self._stem = stem
        self._head = b""
        self._size = 0

    def write(self, chunk: bytes) -> None:
        """Append, and look at the first bytes."""
        self._size += len(chunk)
        if self._size > _LARGEST_FILE:
            raise _Failure(f"the file is larger than {_LARGEST_FILE} bytes", passing=False)
        if len(self._head) < SIGNATURE_BYTES:
            self._head += chunk[:SIGNATURE_BYTES]
        self._file.write(chunk)

    def publish(self) -> Path:
        """Check what came, flush it to disk and give it its name."""
        extension = extension_of(self._head)
        if extension is None:
            raise _Failure(f"the content is no picture, it begins with {self._head!r}", passing=False)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        for other in EXTENSIONS:  # one picture, one file: an earlier one may have been of another kind
            if other != extension:
                (self._directory / f"{self._stem}{other}").unlink(missing_ok=True)
        return self._path.replace(self._directory / f"{self._stem}{extension}")

    def discard(self) -> None:
        """Remove the temporary file if it still has its temporary name."""
        with suppress(OSError):  # closing flushes, and a full disk has been reported already
            self._file.close()
        with suppress(FileNotFoundError):
            self._path.unlink()
