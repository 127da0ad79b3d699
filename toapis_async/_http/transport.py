"""The thin aiohttp adapter: sends one request, reads the whole answer, maps every failure once."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Final, Protocol

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from .._protocol.messages import HttpRequest, HttpResponse
from .._version import __version__
from ..errors import TransportError
from .timeouts import Timeouts

_logger = logging.getLogger("toapis_async")

_LARGEST_BODY: Final = 8 * 1024 * 1024  # bytes; a status answer has about 500
_CONNECT_SECONDS: Final = 10.0
_SHORT_KEY: Final = 8  # a key this short may be part of ordinary text


_ESCAPE: Final = re.compile(rb"\\(?:u00([2-7][0-9a-fA-F])|.)", re.DOTALL)


def _plain(escape: re.Match[bytes]) -> bytes:
    """Write an ASCII character that needs no escape as itself, so that a key is found however it is spelled."""
    character = bytes.fromhex(escape[1].decode()) if escape[1] else b'"'
    return escape[0] if character in b'"\\\x7f' else character


class Transport(Protocol):
    """Sends a request to the API's origin with the key, and to nowhere else."""

    async def send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        """Exchange one request for a whole answer within `timeout` seconds.

        Raises:
            TransportError: no whole answer came; `sent` says whether the request may have arrived.

        """
        ...

    def redact(self, text: str) -> str:
        """Return a text without the key."""
        ...

    async def close(self) -> None:
        """Release what was opened; a borrowed session stays open."""
        ...


class _Secret(str):
    """Text that is not shown, by those who print the variables of a traceback for instance."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[key]'"


class _Once:
    """A middleware that lets one request through: aiohttp repeats a GET on a dead connection, past the pacer."""

    __slots__ = ("_error", "_used")

    def __init__(self) -> None:
        self._used = False
        self._error: BaseException | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._used:
            raise TransportError("The connection was dropped", sent=True)
        self._used = True
        try:
            return await handler(request)
        except BaseException as error:
            self._error = error
            raise

    def may_have_sent(
        self, error: Exception, *, never_sent: tuple[type[Exception], ...], wire: tuple[type[Exception], ...]
    ) -> bool:
        """Whether the request of an exchange that ended with `error` may have arrived.

        What happened in here counts: a trace hook of a borrowed session may fail with any error, after the
        answer too. One that never came here failed before, or in a session that leaves middlewares out.
        """
        if self._used:
            return not isinstance(self._error, never_sent)
        return isinstance(error, wire) and not isinstance(error, never_sent)


class AiohttpTransport:
    """A transport over an aiohttp session of its own, or a borrowed one that it never closes."""

    def __init__(self, base_url: str, api_key: str, http: aiohttp.ClientSession | None) -> None:
        self._url = URL(base_url)
        self._root = self._url.raw_path
        self._secret = api_key.encode()
        self._headers = CIMultiDict({
            "Authorization": _Secret(f"Bearer {api_key}"),
            "Accept": "application/json",
            "User-Agent": f"toapis-async/{__version__}",
        })
        self._json_headers = CIMultiDict({**self._headers, "Content-Type": "application/json"})
        # The total is watched in `send`: a timer of aiohttp's own for each request would cost more than ours for all.
        self._timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_connect=_CONNECT_SECONDS)
        if http is not None and http.auth is not None:
            raise ValueError("http: a session with auth= of its own cannot carry the API key")
        self._owned = http is None
        # The pacer and the pools of a batch bound the traffic: a limit here would only make paced requests wait.
        self._http = http or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )
        self._never_sent = (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.ClientHttpProxyError,
            aiohttp.ServerFingerprintMismatch,
            aiohttp.InvalidURL,
        )
        self._wire = (aiohttp.ClientError, OSError)
        self._timeouts = Timeouts()
        self._closed = False
        # asyncio reads into 256 KiB. glibc maps and unmaps such a block for every answer, three system calls, until
        # a larger one was freed.
        bytes(1 << 20)

    async def send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        """See `Transport.send`."""
        if self._closed or self._http.closed:
            raise TransportError("The HTTP session is closed", sent=False, closed=True)
        once = _Once()
        try:
            async with asyncio.Timeout(None) as limit:
                self._timeouts.start(limit, timeout)
                try:
                    return await self._exchange(request, once)
                finally:
                    self._timeouts.stop(limit)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled us: aiohttp raises this where its connector is closed under a waiting request.
            failure = TransportError("The HTTP session gave the request up", sent=True)
        except TransportError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the request may have been paid for
            sent = once.may_have_sent(error, never_sent=self._never_sent, wire=self._wire)
            failure = self._translate(error, timeout, sent=sent)
        # Raised outside the handler: an aiohttp error in the chain would carry the headers, and so the key.
        raise failure

    def redact(self, text: str) -> str:
        """See `Transport.redact`."""
        return text.replace(self._secret.decode(), "[key]") if len(self._secret) > _SHORT_KEY else text

    async def close(self) -> None:
        """See `Transport.close`."""
        self._closed = True
        if self._owned:
            await self._http.close()

    async def _exchange(self, request: HttpRequest, once: _Once) -> HttpResponse:
        url = self._url.with_path(self._root + request.path, encoded=True)
        headers = self._json_headers if request.body else self._headers
        if stream := request.stream:
            content = {"Content-Type": stream.content_type, "Content-Length": str(stream.length)}
            headers = CIMultiDict({**headers, **content})
        async with self._http.request(
            request.method,
            url,
            data=stream.pieces if stream else request.body,
            headers=headers,
            timeout=self._timeout,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            # Instead of a borrowed session's own, which could send a paid request a second time.
            middlewares=(once,),
        ) as response:
            body = bytearray()
            while not response.content.at_eof():
                body += await response.content.readany()
                if len(body) > _LARGEST_BODY:
                    response.close()
                    raise TransportError(f"The answer is longer than {_LARGEST_BODY} bytes", sent=True)
            return HttpResponse(status=response.status, headers=response.headers, body=self._without_key(bytes(body)))

    def _without_key(self, body: bytes) -> bytes:
        if b"\\u00" in body:
            body = _ESCAPE.sub(_plain, body)
        if len(self._secret) > _SHORT_KEY and self._secret in body:
            _logger.warning("The service repeated the API key in an answer; it was removed")
            body = body.replace(self._secret, b"[key]")
        return body

    def _translate(self, error: Exception, timeout: float, *, sent: bool) -> TransportError:
        name = type(error).__name__
        if name == "TimeoutError":
            return TransportError(f"No answer within {timeout:.3g} s", sent=True)
        text = self.redact(str(error)).replace(" ssl:default", "")
        return TransportError(f"{name}: {text}"[:500] if text else name, sent=sent)
