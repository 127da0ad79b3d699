"""The batch as its users see it: take requests in, hand outcomes out, own every task in between."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import anyio
from anyio import AsyncContextManagerMixin
from anyio.lowlevel import checkpoint_if_cancelled

from .._files.downloads import Downloader
from .._files.uploads import Uploader
from .._http.dispatch import Dispatcher
from .._journal import Journal
from .._schedule.adaptive import Poll
from .._submission import Submitter
from .._unfinished import Unfinished
from ..errors import BatchClosed, JournalError
from ..models import ImageRequest, JobState, TaskKind
from ..outcomes import Outcome
from .board import BatchProgress, Board
from .groups import simplest
from .intake import Intake
from .items import RequestSource, check_source
from .job import Job, JobRecord
from .savings import Savings
from .signals import Breather
from .stages import Stages

_logger = logging.getLogger("toapis_async")

OnExit: TypeAlias = Literal["detach", "drain"]


class Batch(AsyncContextManagerMixin):
    """Many generations at once: an async context manager, and the async iterator of their outcomes.

    Made by `ToapisSession.open_batch`. Outcomes come in the order in which tasks end, each to exactly one
    consumer; several tasks may iterate the same batch. Iteration ends when nothing is pending, no source is
    open and nobody holds the batch; a later `submit` makes it iterable again.

    An error that no further request could escape (a refused key, an empty balance, a source that raised)
    closes the intake: what runs is still delivered, then every consumer gets that error, and so does
    `async with` if no consumer did.

    Leaving the block early never cancels anything at the service, which cannot do that: requests on their
    way are finished (at most 75 s), waiting stops, and `unfinished` names every job whose outcome nobody
    received. Cancelling a consumer loses nothing either: the outcome stays for the next one.
    """

    def __init__(
        self,
        requests: RequestSource,
        *,
        submitter: Submitter,
        uploader: Uploader,
        dispatcher: Dispatcher,
        poll: Poll,
        unfinished: Unfinished,
        downloader: Downloader,
        max_in_flight: int,
        save_to: str | os.PathLike[str] | None,
        journal: str | os.PathLike[str] | None,
        base_url: str,
        retry_failed: bool,
        on_exit: OnExit,
        on_job: Callable[[JobRecord], None] | None = None,
    ) -> None:
        if isinstance(max_in_flight, bool) or max_in_flight < 1:
            raise ValueError(f"max_in_flight: {max_in_flight!r} is not 1 or more")
        if on_exit not in {"detach", "drain"}:
            raise ValueError(f"on_exit: {on_exit!r} is not 'detach' or 'drain'")
        check_source(requests)
        if retry_failed and journal is None:
            raise ValueError("retry_failed: what failed in an earlier run is only known with journal=")
        self._first_source = requests
        self._submitter = submitter
        self._tables = dispatcher.tables
        self._on_exit = on_exit
        self._board = Board(max_in_flight)
        savings = None if save_to is None else Savings(self._board, downloader, Path(save_to))
        self._stages = Stages(
            self._board,
            submitter=submitter,
            uploader=uploader,
            dispatcher=dispatcher,
            poll=poll,
            unfinished=unfinished,
            savings=savings,
        )
        self._intake = Intake(
            self._board, self._stages, submitter, dispatcher, poll, retry_failed=retry_failed, on_job=on_job
        )
        self._journal_path = None if journal is None else Path(journal)
        self._base_url = base_url
        self._used = self._entered = False
        self._error_raised = False
        self._breather = Breather(dispatcher.clock)

    # -- in

    def submit(self, request: ImageRequest, *, key: str | None = None) -> Job:
        """Queue a request and return its job; never waits and sends nothing itself. The queue has no bound.

        Local reference pictures are looked at here (size and kind), and with a journal read, which takes some
        milliseconds for each megabyte; `feed` reads in a thread.

        `key` names the job in its outcome; left out, it is the running number, from "0", or with a journal a
        name made of the request.

        Raises:
            RequestValidationError: the request is one the service refuses, its key or client_business_id was
                used before, or its key belongs to another request in the journal.
            JournalError: the journal cannot be read.
            BatchClosed: the batch was left, or its intake is closed.

        """
        self._check_open()
        return self._intake.submit(request, key)

    def feed(self, requests: RequestSource) -> None:
        """Pull requests, or `(key, request)` pairs, from an iterable or async iterable in the background.

        One is pulled only when a slot is free for it, and none while `max_in_flight` outcomes wait to be
        taken: a source is never drained ahead. An item that is not valid becomes a `Failed` outcome. If the
        source raises, the intake closes with its error. An async generator is closed when the batch ends.

        Raises:
            TypeError: `requests` is neither iterable nor async iterable.
            BatchClosed: the batch was left, or its intake is closed.

        """
        check_source(requests)
        self._check_open()
        self._stages.feed(requests, self._intake.take)

    def attach(self, task_id: str, *, key: str | None = None, kind: TaskKind = "image") -> Job:
        """Wait for a task that exists already, named by its task id or client_business_id; pays nothing.

        It does not count towards `max_in_flight`.

        Raises:
            RequestValidationError: no such id or kind can exist, or the key was used before.
            BatchClosed: the batch was left. (A closed intake still takes attached tasks.)

        """
        self._check_entered()
        return self._intake.attach(task_id, key, kind)

    @contextmanager
    def hold(self) -> Generator[None]:
        """Keep the iteration open for a producer that submits from another task."""
        self._board.holds += 1
        try:
            yield
        finally:
            self._board.holds -= 1
            self._board.news.notify()

    # -- out

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        self._check_entered(ended_too=False)
        await self._breather.breathe()  # a full board must not starve the event loop
        await checkpoint_if_cancelled()  # an outcome handed to one who is cancelled would be lost
        board = self._board
        while not board.ready or board.ended:
            if board.ended:
                raise BatchClosed("The batch was left; batch.unfinished has the jobs nobody received")
            if board.exhausted:
                if board.closed_by is None:
                    raise StopAsyncIteration
                self._error_raised = True
                raise board.closed_by
            await board.news.wait()
        # Taken in the step that returns it: a cancellation finds it either still here or delivered.
        outcome = board.hand_out().outcome
        assert outcome is not None
        return outcome

    @property
    def unfinished(self) -> tuple[Job, ...]:
        """Every job whose outcome nobody received: queued, being sent, running, or ended but not taken.

        In order of arrival; still valid after the block was left.
        """
        return tuple(self._board.jobs)

    @property
    def progress(self) -> BatchProgress:
        """How many jobs stand where now."""
        return self._board.progress()

    # -- the scope

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Batch]:
        if self._used:
            raise RuntimeError("A Batch can be entered only once; open another one")
        self._used = True
        try:
            if self._journal_path is None:
                async with self._running():
                    yield self
            else:
                journal = self._journal(self._journal_path)
                async with journal.open() as self._intake.journal, self._running():
                    yield self
        finally:
            self._leave()
        if self._board.closed_by is not None and not self._error_raised:
            raise self._board.closed_by

    @asynccontextmanager
    async def _running(self) -> AsyncGenerator[None]:
        body_error: BaseException | None = None
        try:
            async with anyio.create_task_group() as group:
                ready = anyio.Event()
                group.start_soon(self._stages.run, ready)
                await ready.wait()
                self._entered = True
                source, self._first_source = self._first_source, ()
                try:
                    self.feed(source)
                    yield
                except BaseException as error:  # noqa: BLE001 - raised again below, outside the group that would wrap it
                    body_error = error
                else:
                    await self._drain()
                finally:
                    self._board.ended = True
                    self._board.news.notify()
                    self._stages.stop()
        except BaseExceptionGroup as errors:
            raise simplest(errors, body_error) from None
        if body_error is not None:
            try:
                raise body_error
            finally:
                del body_error  # its traceback holds this frame

    def _journal(self, path: Path) -> Journal:
        return Journal(path, self._base_url, tables=self._tables, on_failure=self._journal_failed)

    def _journal_failed(self, error: JournalError) -> None:
        if self._entered and not self._board.ended:
            self._stages.close_intake(error)
        else:
            self._board.close(error)

    async def _drain(self) -> None:
        if self._on_exit == "drain":
            self._stages.stop_intake()
            while self._board.running:
                await self._board.news.wait()

    def _leave(self) -> None:
        left = tuple(self._board.jobs)
        for job in left:
            if job.submission is not None:
                self._submitter.release(job.submission)
                job.submission.on_change = None  # a record that is kept shall not keep the batch
            job.leave()
        self._board.news.notify()
        if not left:
            return
        states = [job.state for job in left]
        counts = ", ".join(f"{states.count(state)} {state}" for state in JobState if state in states)
        hint = ""
        if paid := [handle for job in left if (handle := job.handle)]:
            hint = f"; what was sent goes on at the service, session.wait(id) resumes it: {', '.join(paid)}"
        if JobState.QUEUED in states:
            hint += "; what is queued was never sent"
        _logger.warning("Left a batch with %d jobs in batch.unfinished (%s)%s", len(left), counts, hint)

    # -- inside

    def _check_entered(self, *, ended_too: bool = True) -> None:
        if not self._entered:
            raise RuntimeError("Enter the batch first: async with session.open_batch(...) as batch")
        if ended_too and self._board.ended:
            raise BatchClosed("The batch was left and takes nothing more")

    def _check_open(self) -> None:
        self._check_entered()
        if self._board.closed_by is not None:
            raise BatchClosed(f"The batch sends nothing more: {self._board.closed_by}") from self._board.closed_by
        if self._stages.stopping:
            raise BatchClosed("The batch is being left and sends nothing more")
