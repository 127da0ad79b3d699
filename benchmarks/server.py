"""The service as cheap as can be, in a process of its own: what is measured is the client.

It speaks to all clients alike but for the words, and counts what it is asked.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from email.utils import formatdate
from multiprocessing.connection import Connection
from typing import Any, Final, cast

from benchmarks.dialects import DIALECTS, OURS

WARM_UP: Final = "warm"
"""The id of a task that is completed at the first question."""

_LENGTH = re.compile(rb"(?i)content-length: *([0-9]+)")
_HEAD = b"HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"


class _Service:
    """Says of a task that it runs to the first questions, and that it is completed to question `looks`.

    While it runs, the answers are the same, as they are in the field: it was made a second before it is first asked
    for. With `looks=0` it is completed in the answer to its POST.
    """

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self._moment = 0
        self._date = b""
        self.reset()

    def reset(self) -> None:
        self.asked: Counter[str] = Counter()
        self._born: dict[str, int] = {}
        self.polls = self.submits = self.connections = 0

    def answer(self, head: bytes) -> bytes:
        if (now := int(time.time())) != self._moment:
            self._moment, self._date = now, formatdate(now, usegmt=True).encode()
        method, target, _ = head.split(b" ", 2)
        body = self._post(target.decode()) if method == b"POST" else self._get(target.decode())
        return _HEAD % (self._date, len(body)) + body

    def _post(self, target: str) -> bytes:
        self.submits += 1
        dialect = DIALECTS.get(target.split("/", 2)[1], OURS)
        return dialect.accept({"id": f"tsk_{self.submits}", "now": self._moment}, done=not self._looks)

    def _get(self, target: str) -> bytes:
        if target.startswith("/-/"):
            counts = {"polls": self.polls, "submits": self.submits, "connections": self.connections}
            self.reset()
            return json.dumps(counts).encode()
        first, _, rest = target[1:].partition("/")
        is_result = False
        if first == "fal":  # .../requests/ID/status until it is done, then .../requests/ID
            rest, is_status, _ = rest.partition("/status")
            is_result = not is_status
        task_id = rest.rpartition("/")[2]
        self.polls += 1
        self.asked[task_id] += not is_result
        done = is_result or task_id == WARM_UP or self.asked[task_id] % self._looks == 0
        born = self._born.setdefault(task_id, self._moment - 1)
        return DIALECTS.get(first, OURS).show({"id": task_id, "now": born}, done=done)


class _Exchange(asyncio.Protocol):
    """One connection."""

    def __init__(self, service: _Service) -> None:
        self._service = service
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._service.connections += 1
        self._transport = cast(asyncio.WriteTransport, transport)

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
            self._transport.write(self._service.answer(head))


async def _serve(pipe: Connection, looks: int) -> None:
    service = _Service(looks)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Exchange(service), "127.0.0.1", 0, backlog=1024)
    pipe.send(server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, pipe.recv)
    server.close()


def _main(pipe: Connection, looks: int) -> None:
    asyncio.run(_serve(pipe, looks))


@contextmanager
def status_server(looks: int) -> Generator[str]:
    """Run a server on which every task is completed at its `looks`-th question; yields its origin.

    With `looks=0` it is completed in the answer to its POST.
    """
    with running(_main, looks) as origin:
        yield origin


@contextmanager
def running(serve: Callable[..., None], *values: object) -> Generator[str]:
    """Run a server in a process of its own; it sends its port through a pipe, and ends when it reads from it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, *values))
    process.start()
    theirs.close()
    try:
        if not ours.poll(60):
            raise TimeoutError("the server did not start")
        yield f"http://127.0.0.1:{ours.recv()}"
        ours.send(None)
        process.join(10)
    finally:
        process.kill()


def take_counts(origin: str) -> dict[str, int]:
    """Return `polls`, `submits` and `connections` since the last call. Blocks."""
    with urllib.request.urlopen(f"{origin}/-/counts", timeout=60) as response:
        return cast(dict[str, Any], json.load(response))
