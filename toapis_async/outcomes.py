"""How a job ended: one of four values, to be matched with `match`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeAlias

from attrs import frozen

from .errors import DownloadError, ToapisError
from .models import GenerationTask, ImageRequest, JobState


@frozen(kw_only=True)
class _Ended:
    key: str
    """Your key of the job, or else its running number as text; with a journal, a name made of the request."""
    request: ImageRequest | None
    """None for attached tasks."""
    task_id: str | None
    client_business_id: str | None
    replayed: bool = False
    """True if an earlier run ended this job: it comes from the journal, nothing was sent."""


@frozen(kw_only=True)
class Completed(_Ended):
    """The pictures are there: `task.images`."""

    state: ClassVar = JobState.COMPLETED
    task: GenerationTask
    files: tuple[Path, ...] = ()
    """The saved pictures, in the order of `task.images`, if the batch has `save_to`."""
    download_error: DownloadError | None = None
    """Why not all of them could be saved, be it that the batch was left first. The task itself is complete:
    `session.download(outcome, …)` or another run with the same journal tries again."""

    def unwrap(self) -> GenerationTask:
        """Return the finished task."""
        return self.task


@frozen(kw_only=True)
class _NotCompleted(_Ended):
    error: ToapisError
    """What `unwrap` raises."""
    task: GenerationTask | None = None
    """The last snapshot, if the task was ever seen."""

    def unwrap(self) -> GenerationTask:
        """Raise `error`."""
        raise self.error


@frozen(kw_only=True)
class Failed(_NotCompleted):
    """The service said `failed`, certainly refused the request or an upload for it, or the request is invalid: nothing
    runs."""

    state: ClassVar = JobState.FAILED


@frozen(kw_only=True)
class TimedOut(_NotCompleted):
    """Accepted and still running when the deadline came: resume with `session.wait(outcome.task_id)`."""

    state: ClassVar = JobState.TIMED_OUT


@frozen(kw_only=True)
class Unresolved(_NotCompleted):
    """It may have been paid for, and what became of it could not be found out: resume with
    `session.wait(outcome.task_id or outcome.client_business_id)`.
    """

    state: ClassVar = JobState.UNRESOLVED


Outcome: TypeAlias = Completed | Failed | TimedOut | Unresolved
