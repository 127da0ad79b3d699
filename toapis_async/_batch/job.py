"""One request or attached task of a batch, from submit to outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from .._submission import Submission
from ..errors import BatchClosed, GenerationFailed, PollDeadlineExceeded, ToapisError
from ..models import GenerationTask, ImageRequest, JobState, TaskKind, TaskStatus
from ..outcomes import Completed, Failed, Outcome, TimedOut, Unresolved

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._watch import Watch


class Job:
    """A handle on one item of a batch. Made by `Batch.submit` and `Batch.attach`; compares by identity."""

    __slots__ = (
        "_closed_by", "_done", "_given_id", "_on_received", "_outcome", "key", "kind", "number", "state",
        "submission", "watch",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        number: int,
        *,
        on_received: Callable[[Job], None],
        task_id: str | None = None,
        kind: TaskKind = "image",
    ) -> None:
        self.key = key
        """Yours, or the job's running number in the batch as text."""
        self.kind: TaskKind = kind
        self.state = JobState.QUEUED
        """Where the job stands now."""
        self.number = number
        self.submission: Submission | None = None
        self.watch: Watch | None = None
        self._given_id = task_id
        self._on_received = on_received
        self._outcome: Outcome | None = None
        self._closed_by: ToapisError | Exception | None = None
        self._done: anyio.Event | None = None

    def __repr__(self) -> str:
        return f"<Job {self.key!r} {self.state} task_id={self.task_id!r}>"

    @property
    def request(self) -> ImageRequest | None:
        """What was asked for; None for an attached task."""
        return self.submission.request if self.submission else None

    @property
    def task_id(self) -> str | None:
        """The service's id, once it is known."""
        return self.submission.task_id if self.submission else self._given_id

    @property
    def client_business_id(self) -> str | None:
        """The id sent with the paid request; None for an attached task."""
        return self.submission.client_business_id if self.submission else None

    @property
    def outcome(self) -> Outcome | None:
        """How the job ended; None while it has not."""
        return self._outcome

    async def wait(self) -> Outcome:
        """Wait for the outcome without taking it from the batch's iterator.

        Cancelling this changes nothing for the job.

        Raises:
            BatchClosed: the batch was left before the job ended.
            Exception: the error that closed the batch's intake before this job was sent.

        """
        while self._outcome is None:
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
        self.wake()

    def close(self, error: Exception) -> None:
        """Say why there will be no outcome; the first reason counts."""
        if self._outcome is None and self._closed_by is None:
            self._closed_by = error
            self.wake()

    def wake(self) -> None:
        """Wake who waits."""
        if self._done is not None:
            self._done.set()
            self._done = None

    def closed_error(self) -> BatchClosed:
        """Return the error for leaving the batch before this job's end."""
        may_be_paid = self.submission is None or self.submission.may_be_paid
        return BatchClosed(
            "The batch was left before this job ended",
            task_id=self.task_id,
            client_business_id=self.client_business_id if may_be_paid else None,
            model=self.request.model if self.request else None,
            task=self.watch.last if self.watch else None,
        )


def outcome_of(job: Job, verdict: GenerationTask | ToapisError, *, refused: bool = False) -> Outcome:
    """Turn the end of a wait, or a certain refusal, into the outcome."""
    last = verdict if isinstance(verdict, GenerationTask) else verdict.task or (job.watch.last if job.watch else None)
    task_id = job.task_id or (last.id if last else None)
    business_id = job.client_business_id or (last.client_business_id if last else None)
    if isinstance(verdict, GenerationTask) and verdict.status is TaskStatus.COMPLETED:
        return Completed(
            key=job.key, request=job.request, task_id=task_id, client_business_id=business_id, task=verdict
        )
    error = GenerationFailed(verdict) if isinstance(verdict, GenerationTask) else verdict
    if not refused:
        model = job.request.model if job.request else None
        error.about(task_id=task_id, client_business_id=business_id, model=model, task=last)
    kind: type[Failed | TimedOut | Unresolved] = Unresolved
    if refused or isinstance(error, GenerationFailed):
        kind = Failed
    elif isinstance(error, PollDeadlineExceeded):
        kind = TimedOut
    return kind(
        key=job.key, request=job.request, task_id=task_id, client_business_id=business_id, error=error, task=last
    )
