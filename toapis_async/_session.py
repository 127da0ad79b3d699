"""The session: wires the parts together and offers the verbs."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from ._batch import Batch, RequestSource
from ._batch.batch import OnExit
from ._files.downloads import Downloader
from ._http.dispatch import Dispatcher
from ._http.transport import AiohttpTransport
from ._protocol.endpoints import Accepted, Rejected, build_query
from ._protocol.lifecycle import is_final
from ._schedule.backoff import Backoff, RetryPolicy
from ._schedule.pacer import RateLimits
from ._submission import Submission, Submitter
from ._watch import Origin, Verdict, Watch, next_look, watch_submission, watch_until_end
from .errors import GenerationFailed, MissingApiKeyError, PollDeadlineExceeded, ToapisError
from .instrumentation import Announcer, Observer, TaskEnded
from .models import GenerationTask, ImageRequest, JobState, TaskKind, TaskStatus, UnfinishedTask
from .outcomes import Failed, Outcome

if TYPE_CHECKING:
    from types import TracebackType

    import aiohttp

_logger = logging.getLogger("toapis_async")

_KEY_VARIABLE: Final = "TOAPIS_API_KEY"
_URL_VARIABLE: Final = "TOAPIS_BASE_URL"
_DEFAULT_URL: Final = "https://toapis.com/v1"


class _Parts:
    """What exists while a session is open."""

    def __init__(self, transport: AiohttpTransport, dispatcher: Dispatcher) -> None:
        self.transport = transport
        self.dispatcher = dispatcher
        self.submitter = Submitter(dispatcher)
        self.downloader = Downloader()


class ToapisSession:
    """A connection to the service, and everything one program does with it.

    An async context manager, entered once; it may be left in another task than it was entered in (web
    lifespans, fixtures, notebooks). All requests of a session share one rate budget, so a program needs one
    session. asyncio only. Methods take no timeout of their own: use `asyncio.timeout` or `anyio.fail_after`.

    Args:
        api_key: the key, `sk-…`; from the environment variable TOAPIS_API_KEY if left out.
        base_url: with or without `/v1`; from TOAPIS_BASE_URL if left out, else `https://toapis.com/v1`
            (`https://toapis.cn/v1` is the same service for mainland China).
        http: an `aiohttp.ClientSession` to use and leave open, for a proxy or TLS settings of your own. Its
            middlewares, redirect and status rules are not applied to requests that may cost money.
        poll: when to look at a waiting task.
        retry: what to do when a paid request certainly was not accepted, or its answer is lost.
        limits: the session's own rate limits.
        observers: called with each event; see `toapis_async.instrumentation`.

    Raises:
        MissingApiKeyError: there is no key.
        ValueError: the key or the base URL cannot be one.

    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        http: aiohttp.ClientSession | None = None,
        poll: Backoff | None = None,
        retry: RetryPolicy | None = None,
        limits: RateLimits | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._api_key = _read_key(api_key)
        self._base_url = _read_base_url(base_url)
        self._lent_http = http
        self._poll = poll or Backoff()
        self._retry = retry or RetryPolicy()
        self._limits = limits or RateLimits()
        self._announce = Announcer(observers)
        self._parts: _Parts | None = None
        self._entered = False
        self._records: dict[Submission, None] = {}

    def __repr__(self) -> str:
        return f"<ToapisSession {self._base_url}>"

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("A ToapisSession can be entered only once; make a new one")
        self._entered = True
        transport = AiohttpTransport(self._base_url, self._api_key, self._lent_http)
        dispatcher = Dispatcher(
            transport,
            limits=self._limits,
            retry=self._retry,
            clock=asyncio.get_running_loop().time,
            random=random.random,
            announce=self._announce,
        )
        self._parts = _Parts(transport, dispatcher)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        parts = self._open()
        try:
            await parts.submitter.wait_idle()
        finally:
            self._parts = None
            try:
                await parts.downloader.close()
            finally:
                await parts.transport.close()
        if unfinished := self.unfinished:
            _logger.warning(
                "Closed a session with %d unfinished tasks, which may go on at the service; resume with"
                " session.wait(id): %s",
                len(unfinished),
                ", ".join(task.resume_id for task in unfinished),
            )

    @property
    def unfinished(self) -> tuple[UnfinishedTask, ...]:
        """What `generate`, `submit` and `generate_many` may have paid for and nobody received, oldest first.

        A task leaves this list when its result or error reaches a caller; `wait` with its id does that too.
        Tasks of a batch are in `Batch.unfinished`.
        """
        return tuple(record.snapshot() for record in self._records if record.may_be_paid)

    async def generate(self, request: ImageRequest, *, poll: Backoff | None = None) -> GenerationTask:
        """Submit one request and wait for its pictures.

        Cancelling this while the request is on its way takes effect when its answer is recorded, after at
        most 75 s; the task is then in `unfinished` and goes on at the service.

        Raises:
            RequestValidationError: nothing was sent.
            GenerationFailed: the service ended the task without a picture.
            ApiError: a child says why the service refused the request.
            TransportError: the service could not be reached, nothing was accepted.
            SubmissionUnknown: the request may have been accepted; its answer was lost.
            PollDeadlineExceeded: the task was still running at the deadline.
            ResultMissingError: the task is completed but has no URL.

        """
        parts = self._open()
        submission = parts.submitter.intend(request)
        with self._recorded(submission):
            task = await self._pay(parts, submission)
            if is_final(task.status) and (task.images or task.status is TaskStatus.FAILED):
                return self._result(parts, None, task, submission)
            watch = watch_submission(submission, schedule=poll or self._poll, dispatcher=parts.dispatcher)
            verdict = await watch_until_end(watch, parts.dispatcher)
            return self._result(parts, watch, verdict, submission)

    async def generate_many(
        self,
        requests: RequestSource,
        *,
        max_in_flight: int = 256,
        poll: Backoff | None = None,
    ) -> list[Outcome]:
        """Run requests, or `(key, request)` pairs, and return their outcomes in input order.

        No single item raises: an item that was not sent because the intake closed (refused key, empty
        balance) is `Failed` with that error. The whole input is read first. If this is cancelled, everything
        that may have been paid for is in `unfinished`, finished outcomes included.
        """
        if isinstance(requests, AsyncIterator) or hasattr(requests, "__aiter__"):
            items = [item async for item in requests]  # type: ignore[union-attr]
        else:
            items = list(requests)  # type: ignore[arg-type]
        outcomes: list[Outcome | None] = [None] * len(items)
        batch = self.open_batch(items, max_in_flight=max_in_flight, poll=poll)
        submissions: list[Submission] = []
        try:
            async with batch:
                error = await _collect(batch, outcomes, submissions)
        except BaseException:
            left = [job.submission for job in batch.unfinished if job.submission]
            self._records.update(dict.fromkeys(s for s in (*submissions, *left) if s.may_be_paid))
            raise
        return [outcome or _unsent(index, items[index], error) for index, outcome in enumerate(outcomes)]

    async def submit(self, request: ImageRequest) -> GenerationTask:
        """Pay for one request and return its first snapshot, without waiting for the pictures.

        Cancelling this while the request is on its way takes effect when its answer is recorded, after at
        most 75 s; the task is then in `unfinished`.

        Raises:
            RequestValidationError: nothing was sent.
            ApiError: a child says why the service refused the request.
            TransportError: the service could not be reached, nothing was accepted.
            SubmissionUnknown: the request may have been accepted; its answer was lost.

        """
        parts = self._open()
        submission = parts.submitter.intend(request)
        with self._recorded(submission):
            return await self._pay(parts, submission)

    async def wait(self, task_id: str, *, kind: TaskKind = "image", poll: Backoff | None = None) -> GenerationTask:
        """Wait for a task's pictures; takes a task id or a client_business_id and pays nothing.

        Cancelling this changes nothing for the task.

        Raises:
            NotFoundError: the service knows no such task.
            AuthenticationError: the key was refused three times in a row over ten seconds.
            PermissionDeniedError: likewise.
            GenerationFailed: the service ended the task without a picture.
            PollDeadlineExceeded: the task was still running at the deadline.
            ResultMissingError: the task is completed but has no URL.
            RequestValidationError: no such id or kind can exist.

        """
        parts = self._open()
        watch = self._given(parts, task_id, kind, poll)
        verdict = await watch_until_end(watch, parts.dispatcher)
        self._settle(task_id, verdict)
        return self._result(parts, watch, verdict, None)

    async def get(self, task_id: str, *, kind: TaskKind = "image") -> GenerationTask:
        """Ask once for a task's state; a failed task is a value here, never an exception.

        Raises:
            NotFoundError: the service knows no such task.
            ApiError: a child says what else it answered.
            TransportError: no answer came.
            DecodeError: the answer could not be understood.
            RequestValidationError: no such id or kind can exist.

        """
        parts = self._open()
        try:
            seen = await parts.dispatcher.query(build_query(kind, task_id), asked_id=task_id)
        except ToapisError as error:
            error.about(task_id=task_id)
            raise
        return seen.task

    def watch(self, task_id: str, *, kind: TaskKind = "image", poll: Backoff | None = None) -> TaskSnapshots:
        """Return an async iterator of snapshots, one for each visible change, ending with the final one.

        It raises what `wait` raises, except that a failed task is its last snapshot. Made for server-sent
        events: `async for snapshot in session.watch(task_id)`.
        """
        parts = self._open()
        return TaskSnapshots(self._given(parts, task_id, kind, poll), parts.dispatcher)

    async def download(
        self, task: GenerationTask, directory: str | os.PathLike[str], *, overwrite: bool = False
    ) -> tuple[Path, ...]:
        """Save a completed task's pictures as `<task id>-<index><extension>` and return the files in order.

        The folder is made if need be. Each file appears whole or not at all: it is written under a temporary
        name, checked (length, image signature), flushed to disk and renamed. The extension follows the
        content. A picture that is there already is not fetched again unless `overwrite`. Pictures are
        fetched without the API key and without a lent `http` session. Cancelling leaves whole files only.

        Raises:
            DownloadError: a picture could not be fetched, is no image, or could not be written.

        """
        return await self._open().downloader.save(task, Path(directory), overwrite=overwrite)

    def open_batch(
        self,
        requests: RequestSource = (),
        *,
        max_in_flight: int = 256,
        poll: Backoff | None = None,
        on_exit: OnExit = "detach",
    ) -> Batch:
        """Make a batch, to be entered with `async with` and iterated for outcomes; see `Batch`.

        Args:
            requests: requests or `(key, request)` pairs to begin with, pulled as slots become free.
            max_in_flight: how many jobs may be on their way or running at the service at once.
            poll: when to look at waiting tasks; the session's schedule if left out.
            on_exit: `"detach"` leaves running tasks to the service; `"drain"` waits, when the block ends
                without an exception, for those that were sent. Queued jobs are not sent any more either way.

        """
        parts = self._open()
        return Batch(
            requests,
            submitter=parts.submitter,
            dispatcher=parts.dispatcher,
            schedule=poll or self._poll,
            max_in_flight=max_in_flight,
            on_exit=on_exit,
        )

    # -- inside

    def _open(self) -> _Parts:
        if self._parts is None:
            state = "is closed" if self._entered else "is not open: use async with ToapisSession() as session"
            raise RuntimeError(f"The session {state}")
        return self._parts

    @contextmanager
    def _recorded(self, submission: Submission) -> Generator[None]:
        """Keep the record until the caller has the result or an error with the handle in it."""
        self._records[submission] = None
        try:
            yield
        except ToapisError:
            del self._records[submission]
            raise
        except BaseException:
            if not submission.may_be_paid:
                del self._records[submission]
            raise
        else:
            del self._records[submission]
        finally:
            parts = self._parts
            if parts is not None:
                parts.submitter.release(submission)

    async def _pay(self, parts: _Parts, submission: Submission) -> GenerationTask:
        while True:
            await parts.submitter.pay(submission)
            reply = submission.reply
            if isinstance(reply, Accepted):
                return reply.task
            if isinstance(reply, Rejected):
                raise submission.complete_error(reply.error)
            watch = watch_submission(submission, schedule=self._poll, dispatcher=parts.dispatcher)
            verdict = await watch_until_end(watch, parts.dispatcher)
            if isinstance(verdict, GenerationTask):
                submission.accept(verdict, parts.dispatcher.clock())
                return verdict
            if not parts.submitter.may_pay_again(submission, verdict):
                raise submission.complete_error(verdict)

    def _given(self, parts: _Parts, task_id: str, kind: TaskKind, poll: Backoff | None) -> Watch:
        return Watch(
            task_id,
            kind=kind,
            schedule=poll or self._poll,
            origin=Origin.GIVEN,
            since=parts.dispatcher.clock(),
            random=parts.dispatcher.random,
        )

    def _settle(self, task_id: str, verdict: Verdict) -> None:
        """Drop the record of a task whose end is about to reach the caller."""
        if isinstance(verdict, GenerationTask):
            ids = {task_id, verdict.id, verdict.client_business_id}
            for record in [r for r in self._records if r.task_id in ids or r.client_business_id in ids]:
                del self._records[record]

    def _result(
        self, parts: _Parts, watch: Watch | None, verdict: Verdict, submission: Submission | None
    ) -> GenerationTask:
        error = verdict if isinstance(verdict, ToapisError) else None
        if isinstance(verdict, GenerationTask) and verdict.status is TaskStatus.FAILED:
            error = GenerationFailed(verdict)
        if error is not None:
            error.about(task=watch.last if watch else None)
            error.about(task_id=watch.asked_id) if watch else None
            if submission is not None:
                submission.complete_error(error)
        if self._announce:
            self._announce(_ended(parts, watch, verdict, submission))
        if error is not None:
            raise error
        assert isinstance(verdict, GenerationTask)
        return verdict


class TaskSnapshots:
    """The async iterator that `ToapisSession.watch` returns. Breaking out of it leaves nothing behind."""

    def __init__(self, watch: Watch, dispatcher: Dispatcher) -> None:
        self._watch = watch
        self._dispatcher = dispatcher
        self._shown: tuple[Any, ...] | None = None
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GenerationTask:
        if self._ended:
            raise StopAsyncIteration
        while True:
            verdict = await next_look(self._watch, self._dispatcher)
            if verdict is not None:
                self._ended = True
            if isinstance(verdict, ToapisError):
                raise verdict.about(task=self._watch.last, task_id=self._watch.asked_id)
            task = verdict or self._watch.last
            if task is not None and (verdict is not None or _visible(task) != self._shown):
                self._shown = _visible(task)
                return task


def _visible(task: GenerationTask) -> tuple[Any, ...]:
    return task.raw_status, task.progress, task.images, task.error, task.billing


def _ended(parts: _Parts, watch: Watch | None, verdict: Verdict, submission: Submission | None) -> TaskEnded:
    if isinstance(verdict, GenerationTask):
        state = JobState.COMPLETED if verdict.status is TaskStatus.COMPLETED else JobState.FAILED
        task: GenerationTask | None = verdict
    else:
        state = JobState.TIMED_OUT if isinstance(verdict, PollDeadlineExceeded) else JobState.UNRESOLVED
        task = watch.last if watch else None
    return TaskEnded(
        state=state,
        task_id=task.id if task else submission.task_id if submission else None,
        client_business_id=submission.client_business_id if submission else task.client_business_id if task else None,
        looks=watch.looks if watch else 0,
        seconds=parts.dispatcher.clock() - watch.since if watch else 0.0,
    )


async def _collect(batch: Batch, outcomes: list[Outcome | None], submissions: list[Submission]) -> Exception | None:
    """Put each outcome in its place; returns the error that closed the intake, if one did."""
    while True:
        try:
            job = await batch.next_job()
        except StopAsyncIteration:
            return None
        except Exception as error:  # noqa: BLE001 - becomes the error of every item that was not sent
            return error
        outcomes[job.number] = job.outcome
        if job.submission is not None:
            submissions.append(job.submission)


def _unsent(index: int, item: Any, error: Exception | None) -> Failed:
    key, request = item if isinstance(item, tuple) else (str(index), item)  # pyright: ignore[reportUnknownVariableType]
    assert isinstance(error, ToapisError)
    return Failed(key=key, request=request, task_id=None, client_business_id=None, error=error)  # pyright: ignore[reportUnknownArgumentType]


def _read_key(given: str | None) -> str:
    key = (given if given is not None else os.environ.get(_KEY_VARIABLE, "")).strip()
    if not key:
        raise MissingApiKeyError(_KEY_VARIABLE)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("api_key: it holds characters that no key has (white space, control or non-ASCII characters)")
    return key


def _read_base_url(given: str | None) -> str:
    url = (given or os.environ.get(_URL_VARIABLE) or _DEFAULT_URL).strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"base_url: {url!r} is not an http(s) URL without query, fragment or user name")
    return url if url.endswith("/v1") else f"{url}/v1"


