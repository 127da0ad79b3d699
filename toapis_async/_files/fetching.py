"""One URL into one file: redirects, a cut connection, a server that is not sure of its own files.

Result hosts are reached by an aiohttp session of its own, without key, cookies or headers of the user's.
"""

from __future__ import annotations

import asyncio
import base64
import enum
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

import aiohttp
import anyio
from anyio import CapacityLimiter, to_thread

from .._schedule.backoff import Backoff
from .hosts import AddressGuard, PrivateAddressError
from .images import CutShortError, NotAPictureError
from .parts import Part

_T = TypeVar("_T")
_ATTEMPTS: Final = 4  # in a row, without getting on
_BACKOFF: Final = Backoff(initial=0.5, factor=2.0, maximum=10.0)
_CHUNK: Final = 256 * 1024  # bytes handed to the writing thread at once
_CONNECT_SECONDS: Final = 10.0
_SILENCE_SECONDS: Final = 60.0  # without a single byte
_LONGEST_SECONDS: Final = 1800.0  # for one picture, however it trickles
_REDIRECTS: Final = 5
_THREADS: Final = 8  # the program's own work in threads shall not wait behind pictures
_WRITERS: Final = 2  # at once: what waits stays in its socket, and the event loop gets to other work between chunks
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Kind(enum.Enum):
    """What a failure means for the next step."""

    PASSING = enum.auto()
    """Another attempt may fare better."""
    LASTING = enum.auto()
    GONE = enum.auto()
    """The URL does not stand any more; the service may know another one."""


class Failure(Exception):
    """A picture could not be fetched."""

    def __init__(self, reason: str, kind: Kind, *, http_status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind
        self.http_status = http_status


class Fetcher:
    """Fetches pictures for one session."""

    def __init__(self, base_url: str) -> None:
        self._guard = AddressGuard(base_url)
        self._http: aiohttp.ClientSession | None = None
        self._threads = CapacityLimiter(_THREADS)
        self._writers = CapacityLimiter(_WRITERS)

    async def close(self) -> None:
        """Close the connections to result hosts."""
        if self._http is not None:
            await self._http.close()

    async def in_thread(self, function: Callable[..., _T], *values: Any) -> _T:
        """Run what blocks."""
        return await to_thread.run_sync(function, *values, limiter=self._threads)

    async def fetch(self, url: str, part: Part, max_bytes: int) -> str:
        """Fill a file that is checked and on the disk at the end; returns the extension.

        Raises:
            Failure: it could not be fetched.
            OSError: it could not be written.

        """
        transfer = _Transfer(part, max_bytes)
        failures = 0
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                while True:
                    before = part.size
                    try:
                        return await self._attempt(url, transfer)
                    except Failure as error:
                        if error.kind is not Kind.PASSING:
                            raise
                        failures = 1 if part.size - before >= _CHUNK else failures + 1
                        if failures >= _ATTEMPTS:
                            raise
                    await anyio.sleep(_BACKOFF.wait(failures - 1, lambda: 0.5))
        except TimeoutError:
            raise Failure(f"it was not complete after {_LONGEST_SECONDS:g} s", Kind.LASTING) from None

    async def _attempt(self, url: str, transfer: _Transfer) -> str:
        part = transfer.part
        scheme = _scheme(url)
        try:
            if scheme == "data":
                content = _decode_data_uri(url)
                transfer.check_size(len(content))
                await self.in_thread(part.restart)
                await self.in_thread(part.write, [content])
            else:
                await self._receive(url, transfer)
            return await self.in_thread(part.check)
        except NotAPictureError as error:
            raise Failure(str(error), Kind.LASTING) from None
        except CutShortError as error:
            transfer.validator = None
            raise Failure(str(error), Kind.PASSING) from None

    async def _receive(self, url: str, transfer: _Transfer) -> None:
        part = transfer.part
        try:
            async with self._get(url, transfer.conditions()) as response:
                if transfer.begins_anew(response) and part.size:
                    await self.in_thread(part.restart)
                await self._read(response, transfer)
        except ValueError as error:  # a URL that is none: also one of aiohttp's own errors, so it comes first
            raise Failure(f"{type(error).__name__}: {error}", Kind.LASTING) from None
        except aiohttp.ClientConnectorError as error:
            if not isinstance(error.os_error, PrivateAddressError):
                raise Failure(f"{type(error).__name__}: {error}", Kind.PASSING) from None
            if not await self._guard.relents():
                raise Failure(f"{error.host} is not asked for pictures: {error.os_error}", Kind.LASTING) from None
            await self._receive(url, transfer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failure(f"{type(error).__name__}: {error}", Kind.PASSING) from None
        if transfer.total is not None and part.size != transfer.total:
            transfer.validator = None
            raise Failure(f"{part.size} bytes came instead of {transfer.total}", Kind.PASSING)

    async def _read(self, response: aiohttp.ClientResponse, transfer: _Transfer) -> None:
        size = _CHUNK
        while size >= _CHUNK:
            pieces, size, problem = await _next_pieces(response)
            transfer.check_size(transfer.part.size + size)
            await to_thread.run_sync(transfer.part.write, pieces, limiter=self._writers)
            if problem:
                raise problem

    @asynccontextmanager
    async def _get(self, url: str, conditions: dict[str, str]) -> AsyncGenerator[aiohttp.ClientResponse]:
        headers = {"Accept-Encoding": "identity", **conditions}
        for _ in range(_REDIRECTS + 1):
            async with self._session().get(url, headers=headers, allow_redirects=False) as response:
                target = response.headers.get("Location")
                if response.status not in {301, 302, 303, 307, 308} or target is None:
                    yield response
                    return
                url = urljoin(str(response.url), target)
            if _scheme(url) == "data":
                raise Failure("it redirects to a data URI", Kind.LASTING)
        raise Failure(f"it redirects more than {_REDIRECTS} times", Kind.LASTING)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(socket_factory=self._guard.open_socket),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._http


class _Transfer:
    """How far a file is, and whether the next attempt may go on from there."""

    def __init__(self, part: Part, max_bytes: int) -> None:
        self.part = part
        self.validator: str | None = None
        """What tells that the file at the server is still the same; None if there is nothing to go on from."""
        self.total: int | None = None
        self._max_bytes = max_bytes

    def conditions(self) -> dict[str, str]:
        """Return the headers that ask for the rest, if a part is there."""
        if self.validator is None or not self.part.size:
            return {}
        return {"Range": f"bytes={self.part.size}-", "If-Range": self.validator}

    def begins_anew(self, response: aiohttp.ClientResponse) -> bool:
        """Look at the head of an answer: True if it gives the whole file, False if the rest.

        Raises:
            Failure: it gives neither.

        """
        status = response.status
        if status == 206 and self.conditions():
            self._check_rest(response)
            return False
        if status == 200:
            self.validator = _validator(response)
            self.total = None if "Content-Encoding" in response.headers else response.content_length
            self.check_size(self.total or 0)
            return True
        if status in {206, 416}:
            self.validator = None
            raise Failure(f"HTTP {status}: the server does not give the part that was asked for", Kind.PASSING)
        kind = Kind.PASSING if status >= 500 or status in {408, 425, 429} else Kind.LASTING
        raise Failure(f"HTTP {status}", Kind.GONE if status in {403, 404, 410} else kind, http_status=status)

    def check_size(self, size: int) -> None:
        """Refuse a file that is too large."""
        if size > self._max_bytes:
            raise Failure(f"the file is larger than {self._max_bytes} bytes", Kind.LASTING)

    def _check_rest(self, response: aiohttp.ClientResponse) -> None:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        start, total = (int(found[1]), found[3]) if found else (-1, "*")
        is_same = response.headers.get("ETag", self.validator) == self.validator or not _is_etag(self.validator)
        if start != self.part.size or (self.total is not None and total not in {"*", str(self.total)}) or not is_same:
            self.validator = None
            raise Failure("the server gives another part than was asked for", Kind.PASSING)
        if total != "*":
            self.total = int(total)
            self.check_size(self.total)


def _validator(response: aiohttp.ClientResponse) -> str | None:
    headers = response.headers
    if headers.get("Accept-Ranges") == "none" or "Content-Encoding" in headers:
        return None
    if _is_etag(etag := headers.get("ETag")):
        return etag
    try:  # a date tells versions apart only if a second has passed since
        age = parsedate_to_datetime(headers["Date"]) - parsedate_to_datetime(headers["Last-Modified"])
    except (KeyError, ValueError, TypeError):
        return None
    return headers["Last-Modified"] if age >= timedelta(seconds=1) else None


def _is_etag(value: str | None) -> bool:
    """Whether it is a strong entity tag: it stands for the very bytes."""
    return value is not None and value.startswith('"')


async def _next_pieces(response: aiohttp.ClientResponse) -> tuple[list[bytes], int, Exception | None]:
    """Read about `_CHUNK` bytes: the pieces, their size (0 at the end), and what went wrong behind them."""
    pieces: list[bytes] = []
    size = 0
    try:
        while size < _CHUNK and (piece := await response.content.readany()):
            pieces.append(piece)
            size += len(piece)
    except (aiohttp.ClientError, TimeoutError) as error:
        return pieces, size, error
    return pieces, size, None


def _scheme(url: str) -> str:
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise Failure(f"the URL is none: {error}", Kind.LASTING) from None
    if scheme not in {"http", "https", "data"}:
        raise Failure(f"{scheme or 'no scheme'} is not http or https", Kind.LASTING)
    return scheme


def _decode_data_uri(url: str) -> bytes:
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except ValueError as error:
        raise Failure(f"the data URI holds no base64: {error}", Kind.LASTING) from None
