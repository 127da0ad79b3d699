"""What each answer means: the table of the paid step, and the typed errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toapis_async import (
    ApiError,
    AuthenticationError,
    ContentRejectedError,
    InsufficientBalanceError,
    InvalidRequestError,
    ModelUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    ToapisError,
)
from toapis_async._protocol.endpoints import (
    Accepted,
    Ambiguous,
    Refused,
    Rejected,
    build_query,
    interpret_query,
    interpret_submit,
)
from toapis_async._protocol.failures import closes_intake, read_error, retry_after
from toapis_async._protocol.messages import HttpResponse
from toapis_async.errors import RequestValidationError
from toapis_async.testing import BodyShape, error_reply


def answer(status: int, body: Any = None, **headers: str) -> HttpResponse:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return HttpResponse(status=status, body=data, headers={k.replace("_", "-"): v for k, v in headers.items()})


def error(code: str | int, message: str = "because", **more: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


PANIC = {"error": {"message": "Panic detected", "type": "new_api_panic"}}


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (answer(200, {"id": "t", "status": "queued"}), Accepted),
        (answer(202, {"id": "t", "status": "queued"}), Accepted),
        (answer(200, {"result": {"type": "image", "data": [{"url": "https://a/b"}]}}), Accepted),
        (answer(200, {"data": [{"url": "https://a/b"}]}), Accepted),
        (answer(200, b'{"id":"t","status":"queued"}{"error":{"type":"new_api_panic"}}'), Accepted),
        (answer(429), Refused),
        (answer(429, error("rate_limit_exceeded")), Refused),
        (answer(429, error("x", type="invalid_request_error")), Refused),
        (answer(503, error("rate_limit_unavailable")), Refused),
        (answer(429, error("insufficient_quota")), Rejected),
        (answer(503, error("model_not_found", "no available channel for model x")), Rejected),
        (answer(503, error("x", "no available channel for model x")), Rejected),
        (answer(200, error("insufficient_quota")), Rejected),
        (answer(200, error("invalid_request")), Rejected),
        (answer(201, error("invalid_request")), Ambiguous),
        (answer(500, error("model_not_found")), Ambiguous),
        (answer(200, {"error": {"message": "no"}, "data": [{"url": "https://a/b"}]}), Ambiguous),
        *((answer(status, error("x")), Rejected) for status in (400, 401, 402, 403, 404, 405, 413, 415, 418, 422)),
        (answer(404, b"<html>"), Rejected),
        *((answer(status, error("x")), Ambiguous) for status in (408, 409, 425, 499, 500, 502, 503, 504, 520, 524)),
        *((answer(status, b"<html>"), Ambiguous) for status in (200, 502, 504, 524)),
        *((answer(status, PANIC), Ambiguous) for status in (200, 400, 429, 500)),
        *((answer(status), Ambiguous) for status in (200, 204, 301, 302, 307)),
        (answer(200, {"success": False, "message": "no"}), Ambiguous),
        (answer(200, error("internal_error")), Ambiguous),
        (answer(200, error("rate_limit_exceeded")), Ambiguous),
        (answer(200, b'{"id":"t","sta'), Ambiguous),
        (answer(500, error("insufficient_quota")), Ambiguous),
    ],
)
def test_a_paid_request_is_classified(response: HttpResponse, kind: type) -> None:
    assert type(interpret_submit(response, client_business_id="mine")) is kind


@pytest.mark.parametrize("own_id", ["fox-1", "füchs-1", " Fox-1 "])
def test_an_error_that_shows_our_own_task_is_no_refusal(own_id: str) -> None:
    task = {"id": "t", "status": "queued", "metadata": {"client_business_id": own_id.strip().lower()}}
    for response in (answer(400, task), answer(429, task)):
        assert isinstance(interpret_submit(response, client_business_id=own_id), Ambiguous)
        assert not isinstance(interpret_submit(response, client_business_id="another"), Ambiguous)


def test_an_inline_result_is_known_by_our_own_id() -> None:
    reply = interpret_submit(answer(200, {"data": [{"url": "https://a/b"}]}), client_business_id="mine")
    assert isinstance(reply, Accepted)
    assert reply.task.id == "mine"
    assert reply.task.images[0].url == "https://a/b"


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (answer(400, error("invalid_request_error")), InvalidRequestError),
        (answer(400, error("invalid_parameter")), InvalidRequestError),
        (answer(400, error("invalid_reference_images")), InvalidRequestError),
        (answer(400, error("webhook_not_configured")), InvalidRequestError),
        (answer(400, error("x", "m", type="InputImage.PrivacyInformation")), ContentRejectedError),
        (answer(400, error("task_not_exist")), NotFoundError),
        (answer(400, {"message": "task_not_exist"}), NotFoundError),
        (answer(400, {"code": "x", "message": "任务不存在"}), NotFoundError),
        (answer(401, error(401, type="authentication_error")), AuthenticationError),
        (answer(401, error("unauthorized")), AuthenticationError),
        (answer(401), AuthenticationError),
        (answer(402, error("insufficient_quota")), InsufficientBalanceError),
        (answer(402), InsufficientBalanceError),
        (answer(403, error("quota_not_enough")), InsufficientBalanceError),
        (answer(403, error("x", "user quota is not enough")), InsufficientBalanceError),
        (answer(400, {"error": "insufficient balance"}), InsufficientBalanceError),
        (answer(403, error("modelNotAllowed")), PermissionDeniedError),
        (answer(403), PermissionDeniedError),
        (answer(404, error(404, type="not_found_error")), NotFoundError),
        (answer(404), NotFoundError),
        (answer(404, error("model_not_found")), ModelUnavailableError),
        (answer(404, b"<html>console</html>"), InvalidRequestError),
        (answer(404, b'{"error":'), InvalidRequestError),
        (answer(401, b"<html>"), InvalidRequestError),
        (answer(402, b"<html>"), InvalidRequestError),
        (answer(403, b"<html>blocked</html>"), InvalidRequestError),
        (answer(500, error("invalid_api_key")), ServerError),
        (answer(502, error("unauthorized")), ServerError),
        (answer(500, error("insufficient_quota")), ServerError),
        (answer(429, error("rate_limit_exceeded", "request quota is not enough for this minute")), RateLimitedError),
        (answer(429, error("quota_not_enough")), InsufficientBalanceError),
        (answer(405), InvalidRequestError),
        (answer(400, {"error": "no available channel for model x"}), ModelUnavailableError),
        (answer(413), InvalidRequestError),
        (answer(415), InvalidRequestError),
        (answer(422, error("content_policy_violation")), ContentRejectedError),
        (answer(422), ContentRejectedError),
        (answer(429, error("rate_limit_error")), RateLimitedError),
        (answer(500, error("internal_error")), ServerError),
        (answer(500, PANIC), ServerError),
        (answer(429, PANIC), ServerError),
        (answer(502, b"<html>"), ServerError),
        (answer(503, error("rate_limit_unavailable")), RateLimitedError),
        (answer(503, error("model_not_found")), ModelUnavailableError),
        (answer(503, {"error": {"error": {"code": "model_not_found"}}}), ModelUnavailableError),
        (answer(302, None, Location="https://elsewhere"), ApiError),
    ],
)
def test_an_error_answer_has_its_type(response: HttpResponse, kind: type[ApiError]) -> None:
    found = read_error(response)
    assert type(found) is kind
    assert isinstance(found, ApiError)
    assert found.http_status == response.status


CODES: list[tuple[int, str, type[ApiError]]] = [
    (400, "invalid_request", InvalidRequestError),
    (400, "invalid_request_error", InvalidRequestError),
    (400, "invalid_parameter", InvalidRequestError),
    (400, "invalid_reference_images", InvalidRequestError),
    (400, "webhook_not_configured", InvalidRequestError),
    (400, "task_not_exist", NotFoundError),
    (401, "unauthorized", AuthenticationError),
    (401, "authentication_error", AuthenticationError),
    (402, "insufficient_quota", InsufficientBalanceError),
    (400, "insufficient_user_quota", InsufficientBalanceError),
    (400, "authentication_error", AuthenticationError),
    (400, "modelNotAllowed", PermissionDeniedError),
    (400, "model_not_allowed", PermissionDeniedError),
    (403, "quota_not_enough", InsufficientBalanceError),
    (403, "modelNotAllowed", PermissionDeniedError),
    (404, "task_not_found", NotFoundError),
    (404, "not_found_error", NotFoundError),
    (404, "model_not_found", ModelUnavailableError),
    (413, "invalid_request", InvalidRequestError),
    (422, "content_policy_violation", ContentRejectedError),
    (429, "rate_limit_exceeded", RateLimitedError),
    (429, "rate_limit_error", RateLimitedError),
    (500, "internal_error", ServerError),
    (500, "new_api_panic", ServerError),
    (503, "rate_limit_unavailable", RateLimitedError),
    (503, "model_not_found", ModelUnavailableError),
]
SHAPES: list[BodyShape] = ["error", "untyped", "integer", "flat", "nested"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("status", "code", "kind"), CODES)
def test_every_code_is_known_in_every_shape(status: int, code: str, kind: type[ApiError], shape: BodyShape) -> None:
    reply = error_reply(status, code, "no", shape=shape)
    found = read_error(HttpResponse(status=status, body=reply.body))
    assert type(found) is kind
    assert found.message == "no"


@pytest.mark.parametrize("shape", ["message", "text", "success"])
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422, 429, 500])
def test_a_shape_without_a_code_goes_by_the_status(status: int, shape: BodyShape) -> None:
    body = error_reply(status, "whatever", "no", shape=shape).body
    plain = read_error(HttpResponse(status=status))
    assert type(read_error(HttpResponse(status=status, body=body))) is type(plain)


@pytest.mark.parametrize("status", [200, 401, 403, 409, 500, 502, 503])
def test_not_found_is_believed_from_404_and_400_only(status: int) -> None:
    with pytest.raises(ToapisError) as caught:
        interpret_query(answer(status, error("task_not_exist")), asked_id="t")
    assert not isinstance(caught.value, NotFoundError)


def test_a_hint_on_a_good_answer_is_read() -> None:
    response = answer(200, {"id": "t", "status": "queued"}, Retry_After="7")
    assert interpret_query(response, asked_id="t").hint == 7.0
    assert interpret_query(answer(200, {"id": "t", "status": "queued"}), asked_id="t").hint is None


def test_codes_are_text_whatever_was_sent() -> None:
    found = read_error(answer(401, error(401)))
    assert isinstance(found, ApiError)
    assert found.code == "401"


@pytest.mark.parametrize("name", ["x-request-id", "request-id", "x-amzn-requestid", "cf-ray"])
def test_the_request_id_is_kept(name: str) -> None:
    found = read_error(HttpResponse(status=500, headers={name: "abc"}))
    assert isinstance(found, ApiError)
    assert found.request_id == "abc"
    assert "abc" in str(found)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "0"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 99999999999999999999:28:00 GMT", "Date": "x"}, None),
        ({"Retry-After": "Mon, 99999999999999999999 Oct 2026 07:28:30 GMT"}, None),
        ({"Retry-After": "later"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("response", "closes"),
    [
        (answer(401), True),
        (answer(402), True),
        (answer(403), True),
        (answer(403, error("quota_not_enough")), True),
        (answer(403, error("modelNotAllowed")), False),
        (answer(422), False),
        (answer(503, error("model_not_found")), False),
    ],
)
def test_only_errors_of_key_and_balance_concern_every_request(response: HttpResponse, closes: bool) -> None:
    assert closes_intake(read_error(response)) is closes


@pytest.mark.parametrize(
    ("task_id", "path"),
    [
        ("tsk_img_01K", "/images/generations/tsk_img_01K"),
        ("a/b?c#d", "/images/generations/a%2Fb%3Fc%23d"),
        ("日本 語", "/images/generations/%E6%97%A5%E6%9C%AC%20%E8%AA%9E"),
    ],
)
def test_ids_are_percent_encoded(task_id: str, path: str) -> None:
    assert build_query("image", task_id).path == path


@pytest.mark.parametrize("task_id", ["", ".", "..", "\ud800", None, 3])
def test_what_cannot_be_an_id_is_refused(task_id: Any) -> None:
    with pytest.raises(RequestValidationError, match="task_id"):
        build_query("image", task_id)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(RequestValidationError, match="kind"):
        build_query("song", "t")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
