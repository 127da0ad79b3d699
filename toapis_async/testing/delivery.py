"""Puts a `Reply` on an aiohttp connection, in the ordinary way or in a broken one."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import asyncio

    from .replies import Reply

Pause = Callable[[float], Awaitable[bool]]
"""Waits so many seconds; returns `False` at once when the server stops."""


def drop(request: web.BaseRequest, *, reset: bool) -> web.StreamResponse:
    """Drop the connection of a request, and return the response that will therefore never be sent."""
    transport = request.transport
    if transport is not None:
        if reset:
            _reset_on_close(transport)
        transport.abort()
    return web.Response()


async def deliver(request: web.BaseRequest, reply: Reply, date: str, pause: Pause) -> web.StreamResponse:
    """Send a reply as its `delivery` says. `date` is the value of the `Date` field."""
    headers = {"Date": date, "Server": "simulated", **reply.headers}
    if reply.delivery.is_plain:
        return web.Response(status=reply.status, body=reply.body, headers=headers)
    try:
        return await _deliver_specially(request, reply, headers, pause)
    except ConnectionError:
        # The client has gone: nothing is left to deliver.
        return web.Response()


async def _deliver_specially(
    request: web.BaseRequest, reply: Reply, headers: dict[str, str], pause: Pause
) -> web.StreamResponse:
    way = reply.delivery
    response = web.StreamResponse(status=reply.status, headers=headers)
    if way.chunked:
        response.enable_chunked_encoding()
    else:
        response.content_length = len(reply.body)
    if way.end == "announce":
        response.force_close()
    await response.prepare(request)
    body = reply.body if way.cut_after is None else reply.body[: way.cut_after]
    piece = way.piece or max(1, len(body))
    for start in range(0, len(body), piece):
        if start and way.interval and not await pause(way.interval):
            return drop(request, reset=True)
        await response.write(body[start : start + piece])
    if way.cut_after is None:
        await response.write_eof()
    if request.transport is not None and (way.cut_after is not None or way.end in {"close", "reset"}):
        if way.end == "reset":
            _reset_on_close(request.transport)
        # Unlike abort, close first hands over what was written.
        request.transport.close()
    return response


def _reset_on_close(transport: asyncio.BaseTransport) -> None:
    """Turn the close of a connection into a reset (RST): it lingers on for zero seconds."""
    linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
