"""The service and a result host as cheap as can be, in processes of their own: what is measured is the client."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection

_RUNNING = (
    '{"id":"%s","object":"generation.task","model":"grok-4-1-image","status":"in_progress","progress":10,'
    '"created_at":1760000000,"metadata":{}}'
)
_COMPLETED = (
    '{"id":"%s","object":"generation.task","model":"grok-4-1-image","status":"completed","progress":100,'
    '"created_at":1760000000,"completed_at":1760000053,"expires_at":1760086453,"metadata":{},'
    '"result":{"type":"image","data":[{"url":"https://files.invalid/generated/1.png"}]}}'
)
_BLOCK = bytes(64 * 1024)
_LENGTH = re.compile(rb"(?i)content-length: *([0-9]+)")
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"


class _Status(asyncio.Protocol):
    """Says `in_progress` to the first questions about an id and `completed` to the last one."""

    def __init__(self, asked: Counter[str], looks: int) -> None:
        self._asked = asked
        self._looks = looks
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _LENGTH.search(head)
            rest = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < rest:
                return
            self._buffer = self._buffer[rest:]
            assert self._transport is not None
            body = self._accept() if head.startswith(b"POST") else self._show(head)
            self._transport.write((_HEAD % len(body) + body).encode())

    def _accept(self) -> str:
        self._asked[""] += 1
        return _RUNNING % f"tsk_{self._asked['']}"

    def _show(self, head: bytes) -> str:
        task_id = head.split(b" ", 2)[1].rsplit(b"/", 1)[1].decode()
        self._asked[task_id] += 1
        done = self._asked[task_id] % self._looks == 0
        return (_COMPLETED if done else _RUNNING) % task_id


async def _send_picture(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer `GET /BYTES/RATE/NAME` with a file of at least so many bytes, at so many a second; 0: at once."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            size, rate = map(int, head.split(b" ", 2)[1].split(b"/")[1:3])
            # A PNG whose one large chunk no reader looks at.
            begin = b"\x89PNG\r\n\x1a\n" + size.to_bytes(4, "big") + b"teSt"
            end = bytes(4) + bytes(4) + b"IEND\xaeB`\x82"
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(begin) + size + len(end)}\r\n\r\n".encode() + begin)
            for start in range(0, size, len(_BLOCK)):
                writer.write(_BLOCK[: size - start])
                await writer.drain()
                if rate:
                    await asyncio.sleep(len(_BLOCK) / rate)
            writer.write(end)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _serve_files(pipe: Connection) -> None:
    server = await asyncio.start_server(_send_picture, "127.0.0.1", 0, backlog=1024)
    pipe.send(server.sockets[0].getsockname()[1])
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    server.close()


def _files_main(pipe: Connection) -> None:
    asyncio.run(_serve_files(pipe))


async def _serve(pipe: Connection, looks: int) -> None:
    asked: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Status(asked, looks), "127.0.0.1", 0, backlog=1024)
    pipe.send(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, pipe.recv)
    server.close()


def _main(pipe: Connection, looks: int) -> None:
    asyncio.run(_serve(pipe, looks))


@contextmanager
def status_server(looks: int) -> Generator[str]:
    """Run a server on which every task is completed at its `looks`-th question; yields the base URL."""
    with _running(_main, looks) as origin:
        yield f"{origin}/v1"


@contextmanager
def file_server() -> Generator[str]:
    """Run a result host; yields its URL, to be followed by `/BYTES/RATE/NAME`."""
    with _running(_files_main) as origin:
        yield origin


@contextmanager
def _running(serve: Callable[..., None], *values: object) -> Generator[str]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, *values))
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        ours.send(None)
        process.join(10)
