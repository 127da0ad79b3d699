"""The endpoints: `build_*` makes a request value, `interpret_*` makes a value or exactly one error of an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias

from attrs import frozen

from ..errors import ApiError, DecodeError, ModelUnavailableError, RateLimitedError, RequestValidationError, ToapisError
from ..models import GenerationTask, ImageRequest, TaskKind
from .codec import PANIC, decode_inline_result, decode_task, first_json_value, path_segment
from .failures import LIMITER_DOWN, REJECTION_CODES, UNCLEAR_STATUSES, read_error, retry_after
from .messages import HttpRequest, HttpResponse

_to_json: Final = json.JSONEncoder(allow_nan=False).encode
ABOUT_ANOTHER: Final = "the answer names another request's client_business_id"
_PATHS: Final[dict[TaskKind, str]] = {"image": "/images/generations"}


@frozen(kw_only=True)
class Accepted:
    """The service took the request: it is paid for. `task` may already be at its end."""

    task: GenerationTask


@frozen(kw_only=True)
class Refused:
    """Not taken because of load: sending the same request again is safe."""

    error: RateLimitedError


@frozen(kw_only=True)
class Rejected:
    """Not taken because of what it is or who sent it."""

    error: ToapisError


@frozen(kw_only=True)
class Ambiguous:
    """It may or may not have been taken: look it up, never send it again."""

    error: ToapisError


Reply: TypeAlias = Accepted | Refused | Rejected | Ambiguous


@frozen(kw_only=True)
class Seen:
    """What one status query showed."""

    task: GenerationTask
    body: bytes
    """The answer as it came; `read_snapshot` makes the task of it again. It takes a third of the memory."""
    hint: float | None = None
    """Seconds the service asks to wait before the next look."""
    date: str | None = None
    """When it answered, as it said."""


def build_submit(request: ImageRequest, client_business_id: str) -> HttpRequest:
    """Build the paid request. Fields that were left out are not sent; local pictures come with `with_images`."""
    optional: dict[str, Any] = {
        "size": request.size,
        "n": request.n,
        "image_urls": [image for image in request.images if isinstance(image, str)] or None,
        "callback_url": request.callback_url,
        "metadata": dict(request.metadata) or None,
    }
    body = {
        **request.extra,
        "model": request.model,
        "prompt": request.prompt,
        "client_business_id": client_business_id,
        **{name: value for name, value in optional.items() if value is not None},
    }
    return HttpRequest(method="POST", path=_PATHS["image"], body=_to_json(body).encode("ascii"))


def with_images(wire: HttpRequest, urls: Sequence[str]) -> HttpRequest:
    """Return a paid request with all its reference pictures, now that they have URLs."""
    assert wire.body is not None
    body = {**json.loads(wire.body), "image_urls": list(urls)}
    return HttpRequest(method=wire.method, path=wire.path, body=_to_json(body).encode("ascii"))


def build_query(kind: TaskKind, task_id: str) -> HttpRequest:
    """Build the free question for a task's state; a `client_business_id` does as well as a task id.

    Raises:
        RequestValidationError: no URL can be made of the kind or the id.

    """
    root, segment = _PATHS.get(kind), path_segment(task_id)
    if root and segment:
        return HttpRequest(method="GET", path=f"{root}/{segment}")
    problems: list[str] = []
    if not root:
        problems.append(f"kind: {kind!r} is not one of {', '.join(_PATHS)}")
    if not segment:
        problems.append(f"task_id: {task_id!r} is not a task id")
    raise RequestValidationError(problems)


def interpret_query(response: HttpResponse, *, asked_id: str) -> Seen:
    """Read a task's state.

    Raises:
        ApiError: the service answered with an error; `NotFoundError` only for a clear "no such task".
        DecodeError: no task can be read from the answer.

    """
    if 200 <= response.status < 300:
        body = first_json_value(response.body)
        task = decode_task(body, asked_id=asked_id)
        if task is not None:
            headers = response.headers
            return Seen(task=task, body=response.body, hint=retry_after(headers), date=headers.get("Date"))
    raise read_error(response)


def read_snapshot(body: bytes, *, asked_id: str) -> GenerationTask | None:
    """Read the task of an answer that showed one."""
    return decode_task(first_json_value(body, is_known=True), asked_id=asked_id)


def age_of(seen: Seen) -> float:
    """Return the seconds from a task's creation to the answer, both by the service's clock; 0 if it does not say."""
    created_at = seen.task.created_at
    try:
        answered_at = parsedate_to_datetime(seen.date) if seen.date else None
    except (ValueError, OverflowError):
        return 0.0
    if created_at is None or answered_at is None or answered_at.tzinfo is None:
        return 0.0
    return max(0.0, (answered_at - created_at).total_seconds())


def interpret_submit(response: HttpResponse, *, client_business_id: str) -> Reply:
    """Say what became of a paid request. Everything that is not clear is `Ambiguous`."""
    if 200 <= response.status < 300:
        try:
            body = first_json_value(response.body)
            task = decode_task(body, asked_id=None)
            task = task or decode_inline_result(body, client_business_id=client_business_id)
        except DecodeError as error:
            return Ambiguous(error=error)
        if task is not None and names_another(task, client_business_id):
            return Ambiguous(error=DecodeError([ABOUT_ANOTHER], http_status=response.status))
        if task is not None:
            return Accepted(task=task)
    elif _shows_task(response.body, client_business_id):
        return Ambiguous(error=read_error(response))
    return _refusal(response, read_error(response))


def names_another(task: GenerationTask, client_business_id: str) -> bool:
    """Whether an answer says that it is about another request: one that came too late, on a connection used again."""
    return task.client_business_id is not None and not _names(task, client_business_id)


def _names(task: GenerationTask, client_business_id: str) -> bool:
    return (task.client_business_id or "").strip().lower() == client_business_id.strip().lower()


def _shows_task(body: bytes, client_business_id: str) -> bool:
    try:
        task = decode_task(first_json_value(body, is_known=True), asked_id=None)
    except DecodeError:
        return False
    return task is not None and _names(task, client_business_id)


def _refusal(response: HttpResponse, error: ToapisError) -> Reply:
    status = response.status
    code = (error.code or "").lower() if isinstance(error, ApiError) else ""
    if code == PANIC:
        return Ambiguous(error=error)
    if isinstance(error, RateLimitedError) and (status == 429 or (status == 503 and code == LIMITER_DOWN)):
        return Refused(error=error)
    if 400 <= status < 500 and status not in UNCLEAR_STATUSES:
        return Rejected(error=error)
    if status == 503 and isinstance(error, ModelUnavailableError):
        return Rejected(error=error)
    if status == 200 and code in REJECTION_CODES:
        return Rejected(error=error)
    return Ambiguous(error=error)
