"""Error answers to typed errors: one table of codes, one of HTTP statuses.

Codes come first, because the service wears some errors under a foreign status. Message text is looked at
only on a 4xx, where it can at worst change one refusal into another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

from ..errors import (
    ApiError,
    AuthenticationError,
    ContentRejectedError,
    DecodeError,
    InsufficientBalanceError,
    InvalidRequestError,
    JournalError,
    ModelUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    ToapisError,
    TransportError,
)
from .codec import PANIC, first_json_value
from .messages import HttpResponse

LIMITER_DOWN: Final = "rate_limit_unavailable"
_CATEGORIES: Final[Mapping[str, Literal["submit", "query"]]] = {"async_submit": "submit", "async_query": "query"}

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
}
# What the service says in JSON about keys and tasks; a web page with such a status is not its word.
_SAID_IN_JSON: Final = frozenset({401, 402, 403, 404})
# Which codes are believed under a 2xx, and under a 5xx: there a wrong guess could pay twice or end a wait.
_ANY_STATUS: Final = frozenset(_BY_CODE.values()) - {NotFoundError}
_SERVER_STATUS: Final = frozenset({ModelUnavailableError, RateLimitedError, ServerError})
_QUOTA_TEXTS: Final = ("quota is not enough", "insufficient quota", "insufficient balance", "余额不足", "额度不足")
_NO_CHANNEL_TEXT: Final = "no available channel"
_UNKNOWN_TASK_TEXTS: Final = ("task_not_exist", "任务不存在")
_REQUEST_ID_HEADERS: Final = ("x-request-id", "request-id", "x-amzn-requestid", "cf-ray")
_LONGEST_MESSAGE: Final = 500
_MODEL_CODES: Final = frozenset({"modelnotallowed", "model_not_allowed"})

UNCLEAR_STATUSES: Final = frozenset({408, 409, 425, 499})
"""A 4xx that does not say whether the request was acted upon; another attempt may escape it."""
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
    kind, code = _classify(response.status, codes, message, is_foreign=body is None and bool(excerpt))
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
    """Whether every further paid request of this session would meet the same error."""
    if isinstance(error, PermissionDeniedError):
        return (error.code or "").lower() not in _MODEL_CODES
    if isinstance(error, TransportError):
        return error.closed
    return isinstance(error, AuthenticationError | InsufficientBalanceError | JournalError)


def is_lasting(error: ToapisError) -> bool:
    """Whether the same request would be refused again, whoever sends it and whenever; not if it is the load, the
    key, the balance or the model's channels."""
    return isinstance(error, InvalidRequestError | ContentRejectedError | NotFoundError)


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


def spent_budget(headers: Mapping[str, str]) -> Literal["submit", "query"] | None:
    """Say of which of the user's two budgets at most a hundredth is left, by `X-RateLimit-*` (documented)."""
    category = _CATEGORIES.get(headers.get("X-RateLimit-Category", ""))
    if category is None:
        return None
    try:
        limit, remaining = int(headers["X-RateLimit-Limit"]), int(headers["X-RateLimit-Remaining"])
    except (KeyError, ValueError):
        return None
    return category if limit > 0 and remaining <= limit // 100 else None


def _until(date: str, now: str | None) -> float:
    try:
        return (parsedate_to_datetime(date) - parsedate_to_datetime(now or "")).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return math.nan


def _classify(
    status: int, codes: tuple[str, ...], message: str, *, is_foreign: bool
) -> tuple[type[ApiError], str | None]:
    code = codes[0] if codes else None
    if status == 429:
        return _throttled(codes)
    if 400 <= status < 500:
        return _client_error(status, codes, message, is_foreign=is_foreign)
    allowed = _ANY_STATUS if status < 300 else _SERVER_STATUS
    for name in codes:
        kind = _BY_CODE.get(name.lower())
        if kind is not None and kind in allowed:
            return kind, name
    if status == 503 and _NO_CHANNEL_TEXT in message.lower():
        return ModelUnavailableError, code
    return (ServerError if status >= 500 else ApiError), code


def _throttled(codes: tuple[str, ...]) -> tuple[type[ApiError], str | None]:
    """A refusal for load may wear any type; but an empty balance never recovers, and a panic is no answer."""
    for name in codes:
        if _BY_CODE.get(name.lower()) is InsufficientBalanceError:
            return InsufficientBalanceError, name
        if name == PANIC:
            return ServerError, name
    return RateLimitedError, codes[0] if codes else None


def _client_error(
    status: int, codes: tuple[str, ...], message: str, *, is_foreign: bool
) -> tuple[type[ApiError], str | None]:
    code = codes[0] if codes else None
    for name in (*codes, message):
        kind = _BY_CODE.get(name.lower())
        if kind is not None and (kind is not NotFoundError or status in {400, 404}):
            return kind, name
        if name.endswith("PrivacyInformation"):
            return ContentRejectedError, name
    text = message.lower()
    if any(part in text for part in _QUOTA_TEXTS):
        return InsufficientBalanceError, code
    if status == 400 and any(part in text for part in _UNKNOWN_TASK_TEXTS):
        return NotFoundError, code
    if _NO_CHANNEL_TEXT in text:
        return ModelUnavailableError, code
    if is_foreign and status in _SAID_IN_JSON:
        return InvalidRequestError, code  # something in front of the service speaks, not the service
    return _BY_STATUS.get(status, InvalidRequestError), code


def _describe(response: HttpResponse, excerpt: str) -> str:
    if 300 <= response.status < 400:
        return f"The service redirected the request, which is refused: is base_url right? ({excerpt[:80]!r})"
    if excerpt.startswith("<"):
        hint = ": is base_url right?" if response.status in {404, 405} else ""
        return f"The answer is a web page{hint} ({excerpt[:80]!r})"
    return f"The service gave no reason ({excerpt[:80]!r})" if excerpt else "The service gave no reason"


def _request_id(headers: Mapping[str, str]) -> str | None:
    return next((headers[name] for name in _REQUEST_ID_HEADERS if name in headers), None)
