"""Local pictures to URLs: each content is uploaded once in a session, however many requests share it."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Self

import anyio
from anyio import to_thread

from .._http.dispatch import Dispatcher
from .._protocol.failures import is_lasting
from .._protocol.messages import HttpRequest
from .._protocol.uploads import Broken, Uploaded, UploadForm, UploadReply, build_form, build_upload, interpret_upload
from ..errors import RequestValidationError, ToapisError, TransportError
from .references import Content, Picture, UnusableError, changed, check_source, is_slow, load

# How long the service keeps an upload is not documented; its results stay for a day. To upload again is free, a
# request with a dead reference may not be.
_RECENT_SECONDS: Final = 20 * 3600.0
_AT_ONCE: Final = 4
_CHUNK: Final = 256 * 1024  # bytes read by the worker thread at once
_ANSWER_SECONDS: Final = 60.0
_SLOWEST: Final = 64 * 1024  # bytes a second; what is slower is given up and tried again


class Link(NamedTuple):
    """The URL of a picture."""

    url: str
    since: float
    """When it was uploaded, in Unix seconds."""

    @property
    def is_recent(self) -> bool:
        """Whether the service can be relied on to have it still."""
        return time.time() - self.since < _RECENT_SECONDS


class Uploader:
    """Uploads pictures for one session."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._slots = anyio.Semaphore(_AT_ONCE)
        self._links: dict[str, Link] = {}
        self._refused: dict[str, ToapisError] = {}  # what the service would refuse again
        self._flights: dict[str, _Flight] = {}

    async def upload(self, source: Any) -> str:
        """See `ToapisSession.upload_image`."""
        picture = await to_thread.run_sync(check_source, source) if is_slow(source) else check_source(source)
        _, link = await self.url_of(picture)
        return link.url

    async def url_of(self, picture: Picture, recall: Callable[[str], Link | None] | None = None) -> tuple[str, Link]:
        """Return the digest and the URL of a picture, which is uploaded if it is not there, or not any more.

        `recall` finds the URL that an earlier run had, for a picture whose digest is known. Cancelling this while
        others wait for the same picture lets one of them upload it.

        Raises:
            RequestValidationError: the file is gone, or is not what was handed over.
            ToapisError: the upload failed; the text says which picture.

        """
        digest = picture.sha256
        link = digest and (self._known(digest) or (recall and recall(digest)))
        if digest and link:  # the file itself is not needed, and may be gone
            self._links[digest] = link
            return digest, link
        try:
            content = await to_thread.run_sync(load, picture) if is_slow(picture.content) else load(picture)
        except UnusableError as error:
            raise RequestValidationError([str(error)]) from None
        try:
            return content.sha256, await self._share(content, picture.label)
        except RequestValidationError:
            raise
        except ToapisError as error:
            raise _named(error, picture.label) from None

    def _known(self, digest: str) -> Link | None:
        link = self._links.get(digest)
        return link if link and link.is_recent else None

    async def _share(self, content: Content, label: str) -> Link:
        """Upload, or wait for who is uploading the same; who waits hears of the same end."""
        digest = content.sha256
        while (link := self._known(digest)) is None:
            if error := self._refused.get(digest):
                raise error
            flight = self._flights.get(digest)
            if flight is None:
                await self._upload(content, label)
            else:
                await flight.ended.wait()
                if flight.error:
                    raise flight.error
        return link

    async def _upload(self, content: Content, label: str) -> None:
        flight = self._flights[content.sha256] = _Flight()
        try:
            url = await self._dispatcher.upload(lambda: self._send(content, label))
            self._links[content.sha256] = Link(url, time.time())
        except RequestValidationError:
            raise  # of this file; the next one's may be whole
        except ToapisError as error:
            flight.error = error.with_traceback(None)
            if is_lasting(error):
                self._refused[content.sha256] = flight.error
            raise
        finally:  # cancelled, it ends without an error, and the next one takes over
            del self._flights[content.sha256]
            flight.ended.set()

    async def _send(self, content: Content, label: str) -> UploadReply:
        """Make one attempt."""
        timeout = _ANSWER_SECONDS + content.size / _SLOWEST
        async with self._slots, _opened(content, label) as request:
            try:
                reply = interpret_upload(await self._dispatcher.exchange(request, timeout=timeout))
            except TransportError as error:
                return Broken(error=error.with_traceback(None))
        if not isinstance(reply, Uploaded):
            self._dispatcher.redact(reply.error)
        return reply


class _Flight:
    """An upload on its way."""

    __slots__ = ("ended", "error")

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.error: ToapisError | None = None


@asynccontextmanager
async def _opened(content: Content, label: str) -> AsyncGenerator[HttpRequest]:
    form = build_form(content.sha256, content.extension)
    pieces = Pieces(content, form, label)
    try:
        yield build_upload(form, content.size, pieces)
    finally:
        pieces.close()
    if pieces.problem:
        raise RequestValidationError([pieces.problem])


def _named(error: ToapisError, label: str) -> ToapisError:
    """Return a copy that says which picture it is about: those who share an upload share its error."""
    error = copy.copy(error)
    error.message = f"Could not upload {label}: {error.message}"
    error.args = (error.message,)
    return error


class Pieces:
    """The body of one attempt. The last piece of a file is withheld unless all of it is what was promised."""

    def __init__(self, content: Content, form: UploadForm, label: str) -> None:
        self.problem: str | None = None
        """Why the file cannot be sent."""
        self._content = content
        self._label = label
        self._frame = [form.tail, form.head]
        self._left = content.size
        self._digest = sha256()
        self._lock = threading.Lock()  # a cancelled attempt closes the file while the thread may still read it
        self._file: BinaryIO | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if len(self._frame) == 2:
            return self._frame.pop()
        if self._left:
            return self._cut() if isinstance(self._content.source, bytes) else await to_thread.run_sync(self._read)
        if self._frame:
            return self._frame.pop()
        raise StopAsyncIteration

    def close(self) -> None:
        """Close the file; what is read afterwards is nothing."""
        with self._lock:
            self._closed = True
            if self._file:
                self._file.close()

    def _cut(self) -> bytes:
        assert isinstance(self._content.source, bytes)
        start = self._content.size - self._left
        piece = self._content.source[start : start + _CHUNK]
        self._left -= len(piece)
        return piece

    def _read(self) -> bytes:
        try:
            piece = self._read_file()
        except OSError as error:
            self.problem = f"{self._label} cannot be read ({error.strerror or error})"
            raise
        if not piece or (not self._left and self._digest.hexdigest() != self._content.sha256):
            self.problem = changed(self._label)
            raise OSError(self.problem)
        return piece

    def _read_file(self) -> bytes:
        path = self._content.source
        assert isinstance(path, Path)
        with self._lock:
            if self._closed:
                return b""
            self._file = self._file or path.open("rb")
            piece = self._file.read(min(_CHUNK, self._left))
        self._left -= len(piece)
        self._digest.update(piece)
        return piece
