"""What the simulator has received: one record per request, and waiting for a number of them."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING

from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .injection import Fault
    from .service import Kind


@frozen(kw_only=True)
class RequestRecord:
    """One request, in the order in which their heads arrived."""

    method: str
    """HTTP method."""
    path: str
    """The path as sent, percent-encoded, with its query string."""
    kind: Kind
    """What it is: "submit", "query", "file", "upload", or "other" for a path the service does not have."""
    at: float
    """When it arrived, in seconds since the simulator started."""
    headers: Mapping[str, str]
    """Its header fields; names are found in any case."""
    body: bytes = b""
    """The body of a submit; empty for others, uploads too, and for one that was dropped before it was read."""
    status: int | None = None
    """The HTTP status of the reply; `None` if there was none: dropped, hung, or not answered yet."""
    faults: tuple[Fault, ...] = ()
    """The scripted faults that hit it."""


class RequestLog:
    """The records, safe to read from any thread. With `keep=False` it only counts."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._lock = threading.Lock()
        self._records: list[RequestRecord] = []
        self._handled: Counter[Kind] = Counter()
        self._waiters: list[tuple[Kind, int, asyncio.Future[None]]] = []

    @property
    def records(self) -> tuple[RequestRecord, ...]:
        """Everything received so far."""
        with self._lock:
            return tuple(self._records)

    def open(self, record: RequestRecord) -> int:
        """Add a record; return its number for `amend`."""
        if not self._keep:
            return -1
        with self._lock:
            self._records.append(record)
            return len(self._records) - 1

    def amend(
        self,
        number: int,
        *,
        body: bytes | None = None,
        status: int | None = None,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        """Complete a record with what has become known; `faults` are added to those it has."""
        if not self._keep:
            return
        with self._lock:
            old = self._records[number]
            self._records[number] = evolve(
                old,
                body=old.body if body is None else body,
                status=old.status if status is None else status,
                faults=old.faults + faults,
            )

    def count(self, kind: Kind) -> None:
        """Note that a request has been received and processed, and wake whoever waits for that."""
        with self._lock:
            self._handled[kind] += 1
            ready = [waiter for waiter in self._waiters if self._handled[waiter[0]] >= waiter[1]]
            self._waiters = [waiter for waiter in self._waiters if waiter not in ready]
        for _, _, future in ready:
            # The waiter may live in the loop of another thread.
            future.get_loop().call_soon_threadsafe(_resolve, future)

    async def wait(self, kind: Kind, count: int) -> None:
        """Return once `count` requests of a kind have been counted since the start."""
        with self._lock:
            if self._handled[kind] >= count:
                return
            future = asyncio.get_running_loop().create_future()
            self._waiters.append((kind, count, future))
        try:
            await future
        finally:
            with self._lock:
                self._waiters = [waiter for waiter in self._waiters if waiter[2] is not future]


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
