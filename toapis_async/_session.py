"""The session: wires the parts together and offers the verbs."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

from ._config import read_base_url, read_key
from ._files.defaults import DEFAULT_NAME, MAX_BYTES
from ._opening import load_parts
from ._schedule.adaptive import AdaptiveBackoff, Poll
from ._schedule.backoff import RetryPolicy
from ._schedule.pacer import RateLimits
from .models import GenerationTask, ImageRequest, TaskKind, UnfinishedTask
from .outcomes import Completed, Outcome

if TYPE_CHECKING:
    from types import TracebackType

    import aiohttp

    from ._batch import Batch, RequestSource
    from ._batch.batch import OnExit
    from ._parts import Parts
    from ._single import TaskSnapshots
    from .instrumentation import Observer


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
            middlewares, timeouts, redirect and status rules are not applied; `auth=` is a `ValueError` on entering.
            Give it a connector with `limit=0`: a batch needs up to 96, and what gets none for 10 s is not sent.
        poll: when to look at a waiting task: `AdaptiveBackoff()` if left out, or a plain `Backoff`.
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
        poll: Poll | None = None,
        retry: RetryPolicy | None = None,
        limits: RateLimits | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._api_key = read_key(api_key)
        self._base_url = read_base_url(base_url)
        self._lent_http = http
        self._poll = poll or AdaptiveBackoff()
        self._retry = retry or RetryPolicy()
        self._limits = limits or RateLimits()
        self._observers = tuple(observers)
        self._parts: Parts | None = None
        self._is_open = False
        self._opened_at = ""

    def __repr__(self) -> str:
        return f"<ToapisSession {self._base_url}>"

    async def __aenter__(self) -> Self:
        parts = await load_parts()
        # In one step from here on, so that nothing is open if this is cancelled.
        if self._parts is not None:
            raise RuntimeError("A ToapisSession can be entered only once; make a new one")
        base_url, key, http = self._base_url, self._api_key, self._lent_http
        self._parts = parts(base_url, key, http, limits=self._limits, retry=self._retry, observers=self._observers)
        self._is_open = True
        (caller, _) = traceback.extract_stack(limit=2)
        self._opened_at = f"{caller.filename}:{caller.lineno}"
        return self

    def __del__(self) -> None:
        if getattr(self, "_is_open", False):
            text = f"{self!r}, opened at {self._opened_at}, was never closed"
            warnings.warn(text, ResourceWarning, stacklevel=2, source=self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ToapisSession holds the API key and cannot be pickled or copied")

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        parts = self._open()
        self._is_open = False
        await parts.close()

    @property
    def unfinished(self) -> tuple[UnfinishedTask, ...]:
        """What `generate`, `submit` and `generate_many` may have paid for and nobody received, oldest first.

        A task leaves this list when its result or error reaches a caller, or when its end is seen by `wait`,
        `watch`, `get` or an attached job. Tasks of a batch are in `Batch.unfinished`. Valid after leaving, too.
        """
        return self._parts.unfinished.snapshots() if self._parts else ()

    async def generate(self, request: ImageRequest, *, poll: Poll | None = None) -> GenerationTask:
        """Submit one request and wait for its pictures.

        Cancelling this while the request is on its way takes effect when its answer is recorded, after at
        most 75 s; the task is then in `unfinished` and goes on at the service.

        Raises:
            RequestValidationError: nothing was sent.
            GenerationFailed: the service ended the task without a picture.
            ApiError: a child says why the service refused the request or, with a `task_id`, the question for it.
            TransportError: nothing was accepted, unless an id is set: then the session was closed meanwhile.
            DecodeError: the answer to the upload of a picture could not be understood; nothing was sent.
            SubmissionUnknown: the request may have been accepted; its answer was lost.
            PollDeadlineExceeded: the task was still running at the deadline.
            ResultMissingError: the task is completed but has no URL.

        """
        return await self._open().singles.generate(request, poll or self._poll)

    async def generate_many(
        self,
        requests: RequestSource,
        *,
        max_in_flight: int = 256,
        poll: Poll | None = None,
        save_to: str | os.PathLike[str] | None = None,
        journal: str | os.PathLike[str] | None = None,
        retry_failed: bool = False,
    ) -> list[Outcome]:
        """Run requests, or `(key, request)` pairs, and return their outcomes in input order.

        No single item raises: an item that was not sent because the intake closed (refused key, empty balance)
        is `Failed` with that error. The whole input is read first. If this is cancelled, everything that may have
        been paid for is in `unfinished`, finished outcomes included. Arguments and errors are those of `open_batch`.
        """
        return await self._open().gather(
            requests,
            poll or self._poll,
            max_in_flight=max_in_flight,
            save_to=save_to,
            journal=journal,
            retry_failed=retry_failed,
        )

    async def submit(self, request: ImageRequest) -> GenerationTask:
        """Pay for one request and return its first snapshot, without waiting for the pictures.

        Cancelling this is like cancelling `generate`, and it raises what that raises before the task is accepted:
        RequestValidationError, a child of ApiError, TransportError, DecodeError or SubmissionUnknown.
        """
        return await self._open().singles.submit(request)

    async def wait(self, task_id: str, *, kind: TaskKind = "image", poll: Poll | None = None) -> GenerationTask:
        """Wait for a task's pictures, named by its id or client_business_id; pays nothing, and may be cancelled.

        Raises:
            NotFoundError: the service knows no such task.
            AuthenticationError, PermissionDeniedError: the key was refused three times in a row over ten seconds.
            GenerationFailed: the service ended the task without a picture.
            PollDeadlineExceeded: the task was still running at the deadline.
            ResultMissingError: the task is completed but has no URL.
            RequestValidationError: no such id or kind can exist.

        """
        return await self._open().singles.wait(task_id, kind, poll or self._poll)

    async def get(self, task_id: str, *, kind: TaskKind = "image") -> GenerationTask:
        """Ask once for a task's state; a failed task is a value here, never an exception.

        The question waits its turn like every other one, through a pause that the service asked for too.

        Raises:
            NotFoundError: the service knows no such task.
            ApiError: a child says what else it answered.
            TransportError: no answer came.
            DecodeError: the answer could not be understood.
            RequestValidationError: no such id or kind can exist.

        """
        return await self._open().singles.get(task_id, kind)

    def watch(self, task_id: str, *, kind: TaskKind = "image", poll: Poll | None = None) -> TaskSnapshots:
        """Return an async iterator of snapshots, one for each visible change, ending with the final one.

        It raises what `wait` raises, except that a failed task is its last snapshot. Made for server-sent
        events: `async for snapshot in session.watch(task_id)`.
        """
        return self._open().singles.snapshots(task_id, kind, poll or self._poll)

    async def download(
        self,
        task: GenerationTask | Completed,
        directory: str | os.PathLike[str],
        *,
        name: str = DEFAULT_NAME,
        overwrite: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> tuple[Path, ...]:
        """Save the pictures of a task, or of a batch's outcome, and return the files in order.

        Each file appears whole or not at all: it is checked, flushed to disk and renamed. Pictures are fetched
        without the API key and a lent `http` session, and from private addresses only if the base URL is at one.
        Where a URL has ended, the service is asked for a fresh one. `max_bytes` is the limit for one picture.

        `name` is made of `{key}` (of an outcome; else the task's id), `{index}`, `{id}`, `{model}`, `{prompt}`
        (the first words, if an outcome is given), `{date}` and, at the end, `{ext}`, which fits the content.
        Without `{index}` several pictures are numbered. Names are safe on Linux, macOS and Windows. A file whose
        name has the task's id counts as saved, unless `overwrite`; any other one is fetched and compared, and a
        different picture keeps its name: the new one gets one of its own beside it.

        Raises:
            ValueError: `name` is no such template, or `max_bytes` is out of range; nothing was fetched.
            ResultExpiredError: the service does not hand the picture out any more.
            DownloadError: a picture could not be fetched, is no image, or could not be written.

        """
        return await self._open().download(task, directory, name=name, overwrite=overwrite, max_bytes=max_bytes)

    async def upload_image(self, source: Path | bytes) -> str:
        """Upload a jpeg, png, webp or gif of at most 10 MB and return its URL; this costs nothing.

        `ImageRequest(images=[Path(...)])` does so by itself, not with a gif. The same bytes go once in 20 hours.

        Raises:
            RequestValidationError: it cannot be read, or is no such picture.
            ApiError: a child says why the service refused it.
            TransportError: the service could not be reached.
            DecodeError: its answer could not be understood.

        """
        return await self._open().uploader.upload(source)

    def open_batch(
        self,
        requests: RequestSource = (),
        *,
        max_in_flight: int = 256,
        poll: Poll | None = None,
        save_to: str | os.PathLike[str] | None = None,
        journal: str | os.PathLike[str] | None = None,
        retry_failed: bool = False,
        on_exit: OnExit = "detach",
    ) -> Batch:
        """Make a batch, to be entered with `async with` and iterated for outcomes; see `Batch`.

        Args:
            requests: requests or `(key, request)` pairs to begin with, pulled as slots become free.
            max_in_flight: how many jobs may be on their way or running at the service at once.
            poll: when to look at waiting tasks; the session's schedule if left out.
            save_to: a folder in which pictures are saved as `download` does, under the job's key. An outcome comes
                when its files, and its line in the folder's `manifest.jsonl`, are there; what could not be saved
                is in `Completed.download_error`.
            journal: a file in which every job is recorded before it is paid for, made if it does not exist. A
                batch with the same journal and requests, in this process or another, goes on where the last one
                ended, however it ended: what ended comes at once with `replayed=True`, what was accepted is
                waited for, what may have been accepted is looked up, the rest is sent. Keys are yours, or stand
                for the request ("3f0c…"). One batch at a time may use it. It has no API key in it.
            retry_failed: pay anew for what failed in an earlier run, instead of replaying it.
            on_exit: `"detach"` leaves running tasks to the service; `"drain"` waits, when the block ends
                without an exception, for those that were sent. Queued jobs are not sent any more either way.

        Raises:
            ValueError: an argument is out of range, or `retry_failed` is given without a journal.
            TypeError: `requests` is neither iterable nor async iterable.
            JournalError: on entering; the journal cannot be opened, is of another base URL, or is in use.

        """
        return self._open().batch(
            requests,
            poll or self._poll,
            max_in_flight=max_in_flight,
            save_to=save_to,
            journal=journal,
            retry_failed=retry_failed,
            on_exit=on_exit,
        )

    def _open(self) -> Parts:
        if self._parts is None or not self._is_open:
            state = "is closed" if self._parts else "is not open: use async with ToapisSession() as session"
            raise RuntimeError(f"The session {state}")
        return self._parts
