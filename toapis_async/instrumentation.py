"""What a session tells while it works: event records, and who wants to hear them.

Observers are called synchronously, in the event loop, after the fact is recorded in memory (a journal may still be
writing it); an exception in one is logged and goes no further.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

from attrs import asdict, frozen

from .models import JobState, TaskKind

_logger = logging.getLogger("toapis_async")


@frozen(kw_only=True)
class RequestFinished:
    """One HTTP exchange with the API ended."""

    method: str
    path: str
    """Below the base URL, percent-encoded."""
    status: int | None
    """HTTP status; None if no answer came."""
    error: str | None
    """What went wrong on the wire; None if an answer came."""
    seconds: float


@frozen(kw_only=True)
class Throttled:
    """The service refused for load: all requests of this kind pause."""

    requests: Literal["submit", "query", "upload"]
    pause: float
    """Seconds from now until the next request."""


@frozen(kw_only=True)
class TaskAccepted:
    """A paid request was accepted."""

    kind: TaskKind
    task_id: str
    client_business_id: str
    model: str


@frozen(kw_only=True)
class SubmissionAmbiguous:
    """The answer to a paid request was lost; it is now looked up."""

    client_business_id: str
    model: str
    reason: str


@frozen(kw_only=True)
class TaskEnded:
    """A job of a batch or a single call ended; its pictures may still be being saved.

    There is none for a request that is not valid, nor for a job that an earlier run with the same journal ended.
    """

    state: JobState
    task_id: str | None
    client_business_id: str | None
    looks: int
    """Status queries the wait cost."""
    seconds: float
    """From acceptance or attaching to the end; 0 where there was nothing to wait for."""


Event: TypeAlias = RequestFinished | Throttled | TaskAccepted | SubmissionAmbiguous | TaskEnded


class Observer(Protocol):
    """Anything that can be called with an event. It must not block."""

    def __call__(self, event: Event, /) -> None:
        """Take note of `event`."""
        ...


class LoggingObserver:
    """Writes each event as one DEBUG line to a standard-library logger, `toapis_async.events` by default."""

    def __init__(self, logger: logging.Logger | None = None, *, level: int = logging.DEBUG) -> None:
        self._logger = logger or logging.getLogger("toapis_async.events")
        self._level = level

    def __call__(self, event: Event, /) -> None:
        """Log `event`."""
        if self._logger.isEnabledFor(self._level):
            fields = " ".join(f"{name}={value}" for name, value in asdict(event).items())
            self._logger.log(self._level, "%s %s", type(event).__name__, fields)


class Announcer:
    """Hands events to observers."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self.observers = tuple(observers)

    def __bool__(self) -> bool:
        return bool(self.observers)

    def __call__(self, event: Event) -> None:
        """Call every observer; what one raises is logged."""
        for observer in self.observers:
            try:
                observer(event)
            except (Exception, asyncio.CancelledError):  # a watcher must never cost a task
                _logger.exception("Observer %r failed on %s", observer, type(event).__name__)
