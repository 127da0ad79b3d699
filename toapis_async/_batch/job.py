"""One request or attached task of a batch, from submit to outcome: as users see it, and as the batch keeps it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio

from .._protocol.failures import is_lasting
from .._submission import Submission
from .._watch import Watch, state_of
from ..errors import BatchClosed, GenerationFailed, ToapisError
from ..models import GenerationTask, ImageRequest, JobState, TaskKind, TaskStatus
from ..outcomes import Completed, Failed, Outcome, TimedOut, Unresolved


class Job(ABC):
    """A handle on one item of a batch. Made by `Batch.submit` and `Batch.attach`; compares by identity."""

    __slots__ = ("key", "kind", "state")

    key: str
    """Yours, or else the job's running number as text; with a journal, a name made of the request."""
    kind: TaskKind
    state: JobState
    """Where the job stands now."""

    @property
    @abstractmethod
    def request(self) -> ImageRequest | None:
        """What was asked for; None for an attached task."""

    @property
    @abstractmethod
    def task_id(self) -> str | None:
        """The service's id, once it is known; until then the id by which the task was attached."""

    @property
    @abstractmethod
    def client_business_id(self) -> str | None:
        """The id sent with the paid request; of an attached task, what the service says."""

    @property
    @abstractmethod
    def outcome(self) -> Outcome | None:
        """How the job ended; None while it has not."""

    @abstractmethod
    async def wait(self) -> Outcome:
        """Wait for the outcome without taking it from the batch's iterator.

        Cancelling this changes nothing for the job.

        Raises:
            BatchClosed: the batch was left before the job ended.
            Exception: the error that closed the batch's intake before this job was sent.

        """


class JobRecord(Job):
    """The batch's side of a job."""

    __slots__ = (
        "_closed_by", "_done", "_given_id", "_is_left", "_on_received", "_outcome",
        "holds_slot", "number", "submission", "watch",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        number: int,
        *,
        on_received: Callable[[JobRecord], None],
        task_id: str | None = None,
        kind: TaskKind = "image",
    ) -> None:
        self.key = key
        self.kind = kind
        self.state = JobState.QUEUED
        self.number = number
        self.submission: Submission | None = None
        self.watch: Watch | None = None
        self.holds_slot = False
        """Whether it counts towards `max_in_flight`."""
        self._given_id = task_id
        self._on_received = on_received
        self._outcome: Outcome | None = None
        self._closed_by: Exception | None = None
        self._is_left = False
        self._done: anyio.Event | None = None

    def __repr__(self) -> str:
        return f"<Job {self.key!r} {self.state} task_id={self.task_id!r}>"

    @property
    def request(self) -> ImageRequest | None:
        """See `Job.request`."""
        return self.submission.request if self.submission else None

    @property
    def task_id(self) -> str | None:
        """See `Job.task_id`."""
        if self.submission:
            return self.submission.task_id
        if self._outcome:
            return self._outcome.task_id
        last = self.watch.last if self.watch else None
        return last.id if last else self._given_id

    @property
    def client_business_id(self) -> str | None:
        """See `Job.client_business_id`."""
        if self.submission:
            return self.submission.client_business_id
        if self._outcome:
            return self._outcome.client_business_id
        last = self.watch.last if self.watch else None
        return last.client_business_id if last else None

    @property
    def handle(self) -> str | None:
        """An id by which the task can be waited for, or None if there certainly is none; reads no answer."""
        if self.submission is None:
            return self._given_id
        return self.submission.task_id or (self.submission.client_business_id if self.submission.may_be_paid else None)

    @property
    def outcome(self) -> Outcome | None:
        """See `Job.outcome`."""
        return self._outcome

    async def wait(self) -> Outcome:
        """See `Job.wait`."""
        while self._outcome is None:
            if self._closed_by is None and self._is_left:
                self._closed_by = self._left_error()
            if self._closed_by is not None:
                raise self._closed_by
            self._done = self._done or anyio.Event()
            await self._done.wait()
        self._on_received(self)
        return self._outcome

    def finish(self, outcome: Outcome) -> None:
        """Set the outcome and wake who waits for it."""
        self._outcome = outcome
        self.watch = None
        if self.submission is not None:
            self.submission.on_change = None  # it refers back to the job: without the cycle, memory is freed at once
        self._wake()

    def close(self, error: Exception) -> None:
        """Say why there will be no outcome; the first reason counts."""
        if self._outcome is None and self._closed_by is None:
            self._closed_by = error
            self._wake()

    def leave(self) -> None:
        """Say that there will be no outcome because the batch was left."""
        self._is_left = True
        self._wake()

    def _left_error(self) -> BatchClosed:
        may_be_paid = self.submission is None or self.submission.may_be_paid
        return BatchClosed(
            "The batch was left before this job ended",
            task_id=self.task_id,
            client_business_id=self.client_business_id if may_be_paid else None,
            model=self.request.model if self.request else None,
            task=self.watch.last if self.watch else None,
        )

    def _wake(self) -> None:
        if self._done is not None:
            self._done.set()
            self._done = None


_NOT_COMPLETED: Final[Mapping[JobState, type[Failed | TimedOut | Unresolved]]] = {
    kind.state: kind for kind in (Failed, TimedOut, Unresolved)
}


def outcome_of(
    job: JobRecord, verdict: GenerationTask | ToapisError, *, refused: bool = False, replayed: bool = False
) -> Outcome:
    """Turn the end of a wait, or a certain refusal, into the outcome."""
    last = verdict if isinstance(verdict, GenerationTask) else verdict.task or (job.watch.last if job.watch else None)
    task_id: str | None
    business_id: str | None
    if last and not job.submission:  # of an attached task the answer knows best, whatever id it was found by
        task_id, business_id = last.id, last.client_business_id
    else:
        task_id, business_id = job.task_id or (last.id if last else None), job.client_business_id
    handle: Any = {
        "key": job.key,
        "request": job.request,
        "task_id": task_id,
        "client_business_id": business_id,
        "replayed": replayed,
    }
    if isinstance(verdict, GenerationTask) and verdict.status is TaskStatus.COMPLETED:
        return Completed(task=verdict, **handle)
    error = GenerationFailed(verdict) if isinstance(verdict, GenerationTask) else verdict
    if not refused:
        model = job.request.model if job.request else None
        error.about(task_id=task_id, client_business_id=business_id, model=model, task=last)
    return _NOT_COMPLETED[state_of(error, refused=refused)](error=error, task=last, **handle)


def note_end(job: JobRecord, outcome: Outcome) -> None:
    """Write an end into the journal. What was refused for a reason that may pass stays queued there."""
    submission = job.submission
    entry = submission.entry if submission else None
    if submission is None or entry is None:
        return
    if isinstance(outcome, Completed):
        entry.note("completed", outcome.task)
    elif isinstance(outcome, Failed) and submission.task is not None:
        entry.note("failed", outcome.task)
    elif isinstance(outcome, Failed):
        if is_lasting(outcome.error):
            entry.note("failed", error=outcome.error)
    elif submission.task is not None:
        entry.note("submitted", outcome.task or submission.task)
    else:
        entry.note("unresolved")
