"""What may have been paid for: the record of one request on its way through the paid step.

It says at every instant where the request stands. It is written under the shield, in the step in which the answer is
read, so that a cancelled caller can lose the answer but never the task.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping

from attrs import evolve

from .._files.references import Checked
from .._http.dispatch import Attempts
from .._journal import Entry
from .._protocol.endpoints import Reply, build_submit, with_images
from .._protocol.messages import HttpRequest
from ..errors import SubmissionUnknown, ToapisError
from ..models import GenerationTask, JobState, UnfinishedTask


def new_client_business_id() -> str:
    """Return 32 random characters of `[a-f0-9]` that do not look like a task id (those have an underscore)."""
    return secrets.token_hex(16)


class Submission:
    """The record of one request on its way through the paid step."""

    __slots__ = (
        "accepted_at", "attempts", "claims_id", "client_business_id", "doubtful", "entry", "is_fresh", "on_change",
        "pictures", "references", "reply", "request", "resubmissions", "state", "task", "wire",
    )  # fmt: skip

    def __init__(self, checked: Checked, client_business_id: str) -> None:
        self.request = request = checked.request
        self.client_business_id = client_business_id
        self.wire: HttpRequest | None = build_submit(request, self.client_business_id)
        """What is sent; fixed here, whatever becomes of the parts of the request. None once it is accepted."""
        self.pictures = checked.pictures
        """Local reference pictures that have no URL yet: until they have, nothing can be sent."""
        self.references = tuple(image for image in request.images if isinstance(image, str))
        """URLs of the reference pictures, as far as they are known. An answer may repeat them."""
        self.claims_id = request.client_business_id == client_business_id
        """Whether it keeps others from using its id."""
        self.attempts = Attempts()
        self.doubtful = False
        """Whether an earlier attempt may have been accepted, though it was not found."""
        self.state = JobState.QUEUED
        """`QUEUED`: certainly not accepted by any attempt. `POSTING`: perhaps. `SUBMITTED`: accepted."""
        self.reply: Reply | None = None
        """What the last attempt came to; None while none has."""
        self.task: GenerationTask | None = None
        self.accepted_at = 0.0
        """On the session's clock; when it was found, if it is not `is_fresh`."""
        self.is_fresh = True
        """Whether the service accepted it just then; not if it was looked up, or is known from an earlier run."""
        self.resubmissions = 0
        self.on_change: Callable[[JobState], None] | None = None
        self.entry: Entry | None = None
        """Its row in the journal, if there is one."""

    @property
    def task_id(self) -> str | None:
        """The service's id, once it is known."""
        return self.task.id if self.task else None

    @property
    def may_be_paid(self) -> bool:
        """Whether the service may have accepted it."""
        return self.state is not JobState.QUEUED

    def move(self, state: JobState) -> None:
        """Enter a state."""
        self.state = state
        if self.on_change:
            self.on_change(state)

    def place(self, urls: Mapping[str, str]) -> None:
        """Take the URLs of the local pictures, by their labels: the request can be sent."""
        assert self.wire is not None
        local = (urls[picture.label] for picture in self.pictures)
        self.references = tuple(image if isinstance(image, str) else next(local) for image in self.request.images)
        self.wire = with_images(self.wire, self.references)
        self.pictures = ()

    def turn_back(self) -> None:
        """Record that the last attempt was certainly not accepted."""
        if self.entry and not self.doubtful:
            self.entry.note("queued")
        self.move(JobState.POSTING if self.doubtful else JobState.QUEUED)

    def unknown(self, error: ToapisError) -> SubmissionUnknown:
        """Return the error for a doubtful submission whose last attempt ended with `error`."""
        reason = f"an earlier answer was lost, and another attempt was not taken: {error.message}"
        return SubmissionUnknown(
            reason, not_found=True, client_business_id=self.client_business_id, model=self.request.model
        )

    def accept(self, task: GenerationTask, now: float, *, is_fresh: bool = True) -> None:
        """Record that the service has the task."""
        self.is_fresh = is_fresh
        self.task = task
        self.wire = None
        self.accepted_at = now
        self.move(JobState.SUBMITTED)

    def complete_error(self, error: ToapisError) -> ToapisError:
        """Give an error of this submission its handle, as far as the service can know it."""
        if not self.may_be_paid:
            return error.about(model=self.request.model)
        return error.about(
            task_id=self.task_id, client_business_id=self.client_business_id, model=self.request.model, task=self.task
        )

    def snapshot(self) -> UnfinishedTask:
        """Return the record as a value."""
        return UnfinishedTask(
            request=self.request,
            client_business_id=self.client_business_id,
            task_id=self.task_id,
            state=self.state,
        )


def without_references(task: GenerationTask, references: Collection[str]) -> GenerationTask:
    """Take the request's own reference pictures out of the results: an answer may repeat the request."""
    if not references or not task.images:
        return task
    return evolve(task, images=tuple(image for image in task.images if image.url not in references))
