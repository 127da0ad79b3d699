"""A result host as cheap as can be, in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from benchmarks.server import running

_BLOCK = bytes(64 * 1024)


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


async def _serve(pipe: Connection) -> None:
    server = await asyncio.start_server(_send_picture, "127.0.0.1", 0, backlog=1024)
    pipe.send(server.sockets[0].getsockname()[1])
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    server.close()


def _main(pipe: Connection) -> None:
    asyncio.run(_serve(pipe))


@contextmanager
def file_server() -> Generator[str]:
    """Run a result host; yields its URL, to be followed by `/BYTES/RATE/NAME`."""
    with running(_main) as origin:
        yield origin
