"""What can go wrong: one base class, children by meaning.

Every error about a task carries the handle by which the task can be found again, pickles with all its
fields, and says in its text how to go on with the task. None ever advises to submit again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from .models import GenerationTask


def _rebuild(cls: type[ToapisError], args: tuple[Any, ...], state: dict[str, Any]) -> ToapisError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ToapisError(Exception):
    """Base of every error this package raises about the service, a task or a batch."""

    _hint = "Wait for the task again with session.wait({id})"  # how to go on; `{id}` is the handle

    def __init__(
        self,
        message: str,
        *,
        task_id: str | None = None,
        client_business_id: str | None = None,
        model: str | None = None,
        task: GenerationTask | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """What happened, without the handle."""
        self.task_id = task_id
        """The service's id of the task, if one is known."""
        self.client_business_id = client_business_id
        """The id sent with the paid request; finds the task as well as `task_id` does."""
        self.model = model
        self.task = task
        """The last snapshot of the task, if it was ever seen."""

    def about(
        self,
        *,
        task_id: str | None = None,
        client_business_id: str | None = None,
        model: str | None = None,
        task: GenerationTask | None = None,
    ) -> Self:
        """Fill in the parts of the handle that this error does not have yet; returns the error itself."""
        self.task = self.task or task
        seen = self.task
        self.task_id = self.task_id or task_id or (seen.id if seen else None)
        self.client_business_id = (
            self.client_business_id or client_business_id or (seen.client_business_id if seen else None)
        )
        self.model = self.model or model or (seen.model if seen else None)
        return self

    def __str__(self) -> str:
        parts = [
            f"{name} {value}"
            for name, value in (
                ("task", self.task_id),
                ("client_business_id", self.client_business_id),
                ("model", self.model),
            )
            if value
        ]
        text = f"{self.message} [{', '.join(parts)}]" if parts else self.message
        handle = self.task_id or self.client_business_id
        return f"{text}. {self._hint.format(id=repr(handle))}" if self._hint and handle else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


class TransportError(ToapisError):
    """No usable answer came over the wire: name resolution, connection, TLS, timeout, broken response."""

    def __init__(self, message: str, *, sent: bool, closed: bool = False, **handle: Any) -> None:
        super().__init__(message, **handle)
        self.sent = sent
        """False if the request certainly did not reach the service."""
        self.closed = closed
        """True if no request can be sent any more, because the HTTP session was closed."""


class DecodeError(ToapisError):
    """The service's answer could not be understood."""

    def __init__(
        self, problems: Sequence[str], *, http_status: int | None = None, excerpt: str = "", **handle: Any
    ) -> None:
        where = "The service's answer" if http_status is None else f"The service's answer (HTTP {http_status})"
        text = f"{where} could not be understood: {'; '.join(problems)}"
        super().__init__(f"{text} (it began with {excerpt!r})" if excerpt else text, **handle)
        self.problems = tuple(problems)
        self.http_status = http_status
        self.excerpt = excerpt
        """The first characters of the body."""


class ApiError(ToapisError):
    """The service answered with an error. Children say what it means; the base class is for the rest."""

    def __init__(
        self,
        message: str,
        *,
        http_status: int,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        **handle: Any,
    ) -> None:
        super().__init__(message, **handle)
        self.http_status = http_status
        self.code = code
        """The service's own code, always as text; it sends numbers and words."""
        self.request_id = request_id
        """For the service's support: the first of x-request-id, request-id, x-amzn-requestid, cf-ray."""
        self.retry_after = retry_after
        """Seconds from the answer on, from the `Retry-After` header; None if absent, past or senseless."""

    def __str__(self) -> str:
        detail = f"HTTP {self.http_status}" + (f", code {self.code}" if self.code else "")
        detail += f", request {self.request_id}" if self.request_id else ""
        return f"{super().__str__()} ({detail})"


class InvalidRequestError(ApiError):
    """The service says the request is wrong (HTTP 400, 405, 413, 415 and other 4xx)."""


class AuthenticationError(ApiError):
    """The API key is missing, wrong or expired (HTTP 401)."""


class InsufficientBalanceError(ApiError):
    """The balance is used up (HTTP 402, or a quota code or text with another 4xx)."""


class PermissionDeniedError(ApiError):
    """The key may not do this, for instance use this model (HTTP 403)."""


class NotFoundError(ApiError):
    """The service knows no such task (HTTP 404, or 400 `task_not_exist`)."""

    _hint = "If it was accepted, wait for it again with session.wait({id})"


class ContentRejectedError(ApiError):
    """Moderation refused the prompt or a reference picture (HTTP 422, `content_policy_violation`)."""


class RateLimitedError(ApiError):
    """The service refused the request because of load (HTTP 429, 503 `rate_limit_unavailable`)."""


class ModelUnavailableError(ApiError):
    """No channel serves this model with these options for this key (503 `model_not_found`)."""


class ServerError(ApiError):
    """The service failed (HTTP 5xx, or a panic body with any status)."""


class GenerationFailed(ToapisError):
    """The service ended the task without a picture. `task` is its last snapshot."""

    _hint = ""
    task: GenerationTask  # pyright: ignore[reportIncompatibleVariableOverride] - always set

    def __init__(self, task: GenerationTask) -> None:
        reason = task.error.message if task.error else "the service gave no reason"
        code = f" ({task.error.code})" if task.error and task.error.code else ""
        super().__init__(f"The generation failed: {reason}{code}", task=task)
        self.about(task=task)


class PollDeadlineExceeded(ToapisError, TimeoutError):
    """The wait's deadline came before the task's end. The task goes on and stays paid for."""

    _hint = "It may go on at the service: wait for it again with session.wait({id})"

    def __init__(self, deadline: float, *, last_error: str | None = None, **handle: Any) -> None:
        text = f"The task had not ended after {deadline:g} s of waiting"
        super().__init__(f"{text}; the last look failed: {last_error}" if last_error else text, **handle)
        self.deadline = deadline
        """Seconds."""


class SubmissionUnknown(ToapisError):
    """The answer to a paid request was lost, and looking the task up did not find it in time.

    It may have been accepted and charged all the same.
    """

    _hint = "It may have been accepted and charged: look for it with session.wait({id})"

    def __init__(self, reason: str, *, not_found: bool, **handle: Any) -> None:
        super().__init__(f"It is not known whether the request was accepted: {reason}", **handle)
        self.not_found = not_found
        """True if every look-up was answered, and the answer was always "no such task"."""


class ResultMissingError(ToapisError):
    """The service says the task is completed but gives no URL; `task.raw` holds its whole answer."""

    task: GenerationTask  # pyright: ignore[reportIncompatibleVariableOverride] - always set

    def __init__(self, task: GenerationTask) -> None:
        super().__init__("The task is completed but its answer holds no picture URL", task=task)
        self.about(task=task)


class DownloadError(ToapisError):
    """A finished picture could not be saved; the task itself is complete and `url` still stands."""

    _hint = "Its picture URLs can be read again with session.get({id})"

    def __init__(
        self, url: str, reason: str, *, http_status: int | None = None, files: Sequence[Path] = (), **handle: Any
    ) -> None:
        super().__init__(f"Could not save the picture: {reason}", **handle)
        self.url = url
        self.http_status = http_status
        self.files = tuple(files)
        """The pictures of the task that are on disk, in order up to the one that failed."""


class ResultExpiredError(DownloadError):
    """The service does not hand the picture out any more, 24 hours after the task's completion or earlier.

    It was asked for a fresh URL.
    """

    _hint = "What it says of the task now: session.get({id})"

    def __init__(self, url: str, reason: str, **details: Any) -> None:
        super().__init__(url, f"the service does not hand it out any more ({reason})", **details)


class RequestValidationError(ToapisError, ValueError):
    """The request is not one the service would take, or a picture of yours cannot be used; nothing was paid."""

    def __init__(self, problems: Sequence[str], **handle: Any) -> None:
        super().__init__("Not sent: " + "; ".join(problems), **handle)
        self.problems = tuple(problems)
        """Every problem found, each naming the field, the value and what is allowed."""


class JournalError(ToapisError):
    """The journal of a batch cannot be opened, read or written. Nothing is sent that is not in it."""

    def __init__(self, reason: str, *, path: Path, **handle: Any) -> None:
        super().__init__(f"The journal {path} {reason}", **handle)
        self.reason = reason
        self.path = path


class BatchClosed(ToapisError):
    """The batch takes or delivers nothing more; `batch.unfinished` names what it left running."""


class MissingApiKeyError(ToapisError):
    """No API key was given and the environment variable is not set."""

    def __init__(self, variable: str = "TOAPIS_API_KEY") -> None:
        super().__init__(f"No API key: pass api_key= or set the environment variable {variable}")
        self.variable = variable
