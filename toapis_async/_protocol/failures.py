"""Error answers to typed errors: one table of codes, one of HTTP statuses.

Codes come first, because the service wears some errors under a foreign status. Message text is looked at
only on a 4xx, where it can at worst change one refusal into another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

from ..errors import (
    ApiError,
    AuthenticationError,
    ContentRejectedError,
    DecodeError,
    InsufficientBalanceError,
    InvalidRequestError,
    ModelUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    ToapisError,
)
from .codec import first_json_value
from .messages import HttpResponse

PANIC: Final = "new_api_panic"
LIMITER_DOWN: Final = "rate_limit_unavailable"

_BY_CODE: Final[Mapping[str, type[ApiError]]] = {
    "unauthorized": AuthenticationError,
    "authentication_error": AuthenticationError,
    "invalid_api_key": AuthenticationError,
    "insufficient_quota": InsufficientBalanceError,
    "insufficient_user_quota": InsufficientBalanceError,
    "quota_not_enough": InsufficientBalanceError,
    "modelnotallowed": PermissionDeniedError,
    "model_not_allowed": PermissionDeniedError,
    "task_not_exist": NotFoundError,
    "task_not_found": NotFoundError,
    "not_found_error": NotFoundError,
    "content_policy_violation": ContentRejectedError,
    "model_not_found": ModelUnavailableError,
    "rate_limit_exceeded": RateLimitedError,
    "rate_limit_error": RateLimitedError,
    LIMITER_DOWN: RateLimitedError,
    "invalid_request": InvalidRequestError,
    "invalid_request_error": InvalidRequestError,
    "invalid_parameter": InvalidRequestError,
    "invalid_reference_images": InvalidRequestError,
    "webhook_not_configured": InvalidRequestError,
    "internal_error": ServerError,
    PANIC: ServerError,
}
_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    401: AuthenticationError,
    402: InsufficientBalanceError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: ContentRejectedError,
    429: RateLimitedError,
}
_QUOTA_TEXTS: Final = ("quota is not enough", "insufficient quota", "insufficient balance", "余额不足", "额度不足")
_NO_CHANNEL_TEXT: Final = "no available channel"
_UNKNOWN_TASK_TEXTS: Final = ("task_not_exist", "任务不存在")
_REQUEST_ID_HEADERS: Final = ("x-request-id", "request-id", "x-amzn-requestid", "cf-ray")
_LONGEST_MESSAGE: Final = 500
_MODEL_CODES: Final = frozenset({"modelnotallowed", "model_not_allowed"})

REJECTION_CODES: Final = frozenset(_BY_CODE) - {
    PANIC,
    LIMITER_DOWN,
    "internal_error",
    "rate_limit_exceeded",
    "rate_limit_error",
}
"""Codes that mean "not accepted" even under HTTP 200."""


def read_error(response: HttpResponse) -> ToapisError:
    """Turn an answer that holds no task into exactly one error."""
    try:
        body = first_json_value(response.body)
    except DecodeError as error:
        problem, excerpt = error.problems, error.excerpt
        body = None
    else:
        problem, excerpt = ("there is neither a task nor an error in it",), repr(body)[:200]
    codes, message = error_parts(body)
    if response.status < 300 and not codes and not message:
        return DecodeError(problem, http_status=response.status, excerpt=excerpt)
    kind, code = _classify(response, codes, message, is_html=excerpt.startswith("<"))
    return kind(
        message[:_LONGEST_MESSAGE] or _describe(response, excerpt),
        http_status=response.status,
        code=code,
        request_id=_request_id(response.headers),
        retry_after=retry_after(response.headers),
    )


def error_parts(body: Any) -> tuple[tuple[str, ...], str]:
    """Find codes (code before type) and message in any of the error shapes that clients met."""
    if not isinstance(body, dict):
        return (), ""
    error: Any = body.get("error")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if isinstance(error, dict) and isinstance(error.get("error"), dict):  # pyright: ignore[reportUnknownMemberType]
        error = error["error"]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(error, str):
        return (), error
    holder: dict[str, Any] = error if isinstance(error, dict) else body  # pyright: ignore[reportUnknownVariableType]
    found = (holder.get("code"), holder.get("type"))
    codes = tuple(str(item) for item in found if isinstance(item, str | int) and not isinstance(item, bool) and item)
    message = holder.get("message")
    return codes, message if isinstance(message, str) else ""


def closes_intake(error: ToapisError) -> bool:
    """Whether every further paid request of this key would meet the same refusal."""
    if isinstance(error, PermissionDeniedError):
        return (error.code or "").lower() not in _MODEL_CODES
    return isinstance(error, AuthenticationError | InsufficientBalanceError)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read `Retry-After`, in seconds or as a date measured against the answer's own `Date` header.

    Negative, past and senseless values count as absent.
    """
    text = headers.get("Retry-After")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = _until(text, headers.get("Date"))
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _until(date: str, now: str | None) -> float:
    try:
        return (parsedate_to_datetime(date) - parsedate_to_datetime(now or "")).total_seconds()
    except (ValueError, TypeError):
        return math.nan


def _classify(
    response: HttpResponse, codes: tuple[str, ...], message: str, *, is_html: bool
) -> tuple[type[ApiError], str | None]:
    status = response.status
    code = codes[0] if codes else None
    client_error = 400 <= status < 500
    named = (*codes, message) if client_error else codes
    for name in named:
        kind = _BY_CODE.get(name.lower())
        if kind is NotFoundError and status not in {400, 404}:
            kind = None  # only these two statuses are a word on whether the task exists
        if status == 429 and kind not in {InsufficientBalanceError, ServerError}:
            kind = None  # a refusal for load may wear any type; an empty balance under 429 never recovers
        if kind is not None:
            return kind, name
    for name in codes:
        if name.endswith("PrivacyInformation"):
            return ContentRejectedError, name
    text = message.lower()
    if client_error and any(part in text for part in _QUOTA_TEXTS):
        return InsufficientBalanceError, code
    if status == 400 and any(part in text for part in _UNKNOWN_TASK_TEXTS):
        return NotFoundError, code
    if (client_error or status == 503) and _NO_CHANNEL_TEXT in text:
        return ModelUnavailableError, code
    if status == 404 and is_html:
        return InvalidRequestError, code  # a web page says that the path is wrong, not that the task is unknown
    if status in _BY_STATUS:
        return _BY_STATUS[status], code
    return (InvalidRequestError if client_error else ServerError if status >= 500 else ApiError), code


def _describe(response: HttpResponse, excerpt: str) -> str:
    if 300 <= response.status < 400:
        return f"The service redirected the request, which is refused: is base_url right? ({excerpt[:80]!r})"
    if response.status in {404, 405} and excerpt.startswith("<"):
        return f"The service answered with a web page: is base_url right? ({excerpt[:80]!r})"
    return f"The service gave no reason ({excerpt[:80]!r})" if excerpt else "The service gave no reason"


def _request_id(headers: Mapping[str, str]) -> str | None:
    return next((headers[name] for name in _REQUEST_ID_HEADERS if name in headers), None)
