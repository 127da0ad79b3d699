"""The form of an upload, and what its answers mean."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from toapis_async import ApiError, ImageRequest, InvalidRequestError, ToapisError
from toapis_async._protocol.endpoints import Refused, Rejected, build_submit, with_images
from toapis_async._protocol.messages import HttpResponse
from toapis_async._protocol.uploads import Broken, Uploaded, build_form, build_upload, interpret_upload
from toapis_async.testing.replies import PANIC
from toapis_async.testing.uploads import read_form

URL = "https://files.toapis.com/uploads/1/a.png"


def answer(status: int, body: Any, **headers: str) -> HttpResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpResponse(status=status, body=content, headers=headers)


@pytest.mark.parametrize(
    "body",
    [
        {"success": True, "message": "", "data": {"id": "upload_1", "url": URL, "mime_type": "image/png", "size": 7}},
        {"data": {"url": URL}},
        {"url": URL},
        json.dumps({"data": {"url": URL}}).encode() + PANIC,
    ],
    ids=["documented", "short", "flat", "glued"],
)
def test_an_answer_with_a_url_is_a_picture_at_the_service(body: Any) -> None:
    assert interpret_upload(answer(200, body)) == Uploaded(url=URL)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, {"success": True, "data": {"url": "/uploads/1/a.png"}}, Broken),
        (200, {"success": True, "data": None}, Broken),
        (200, [URL], Broken),
        (200, b"<html>", Broken),
        (200, b"", Broken),
        (200, PANIC, Broken),
        (500, PANIC, Broken),
        (502, b"<html>", Broken),
        (503, {"error": {"code": "model_not_found", "message": "no available channel"}}, Broken),
        (408, b"", Broken),
        (409, {"message": "busy"}, Broken),
        (425, b"", Broken),
        (499, b"", Broken),
        (429, b"", Refused),
        (503, {"error": {"code": "rate_limit_unavailable", "message": "later"}}, Refused),
        (200, {"success": False, "message": "no", "data": {"url": URL}}, Rejected),
        (302, b"<html>", Rejected),
        (400, {"success": False, "message": "Unsupported image type"}, Rejected),
        (401, {"error": {"code": 401, "type": "authentication_error", "message": "no key"}}, Rejected),
        (404, {"error": {"code": 404, "type": "not_found_error", "message": "no such page"}}, Rejected),
        (408, {"error": {"code": "insufficient_quota", "message": "balance"}}, Rejected),
        (413, b"<html>", Rejected),
        (422, b"{}", Rejected),
    ],
)
def test_every_other_answer_is_tried_again_or_is_not(status: int, body: Any, kind: type) -> None:
    reply = interpret_upload(answer(status, body))
    assert type(reply) is kind


def test_a_missing_page_is_no_missing_task_and_a_passing_refusal_is_no_wrong_request() -> None:
    for status in (404, 408):
        reply = interpret_upload(answer(status, {"message": "odd"}, **{"x-request-id": "r1"}))
        assert isinstance(reply, Rejected | Broken)
        assert type(reply.error) is ApiError
        assert (reply.error.http_status, reply.error.request_id, reply.error.message) == (status, "r1", "odd")


def test_a_refused_picture_says_why() -> None:
    reply = interpret_upload(answer(400, {"success": False, "message": "Image too large. Maximum size is 10MB"}))
    assert isinstance(reply, Rejected)
    error: ToapisError = reply.error
    assert isinstance(error, InvalidRequestError)
    assert "Maximum size is 10MB" in str(error)


def test_the_form_is_one_that_services_read() -> None:
    form = build_form("ab" * 32, ".webp")

    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    request = build_upload(form, 6, nothing())
    body = form.head + b"\r\n--ab" + form.tail
    assert request.stream is not None
    assert request.stream.length == len(body)
    parts = read_form({"Content-Type": request.stream.content_type}, body)
    assert [(part.name, part.filename, part.content) for part in parts] == [
        ("purpose", None, b"generation"),
        ("file", "abababababababab.webp", b"\r\n--ab"),
    ]
    assert b"Content-Type: image/webp\r\n" in form.head


def test_the_urls_of_uploads_take_the_places_of_their_pictures() -> None:
    request = ImageRequest("a fox", images=["https://a/1.png", b"picture"], metadata={"seed": 1.5}, extra={"x": None})
    wire = build_submit(request, "mine")
    assert wire.body is not None
    whole = with_images(wire, ["https://a/1.png", URL])
    assert whole.body is not None
    assert json.loads(whole.body) == {**json.loads(wire.body), "image_urls": ["https://a/1.png", URL]}
    assert (whole.method, whole.path) == (wire.method, wire.path)
