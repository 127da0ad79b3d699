"""Bodies met in the field become tasks; no body becomes an undocumented error."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toapis_async import DecodeError, GenerationTask, TaskStatus, ToapisError
from toapis_async._protocol.endpoints import (
    Accepted,
    Ambiguous,
    Refused,
    Rejected,
    Seen,
    interpret_query,
    interpret_submit,
)
from toapis_async._protocol.messages import HttpResponse

PICTURE = "https://files.example/1.png"
PANIC = '{"error":{"message":"Panic detected","type":"new_api_panic"}}'


def decode(body: Any, *, asked_id: str = "asked") -> GenerationTask:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return interpret_query(HttpResponse(status=200, body=data), asked_id=asked_id).task


def completed(**fields: Any) -> GenerationTask:
    return decode({"id": "tsk_1", "status": "completed", **fields})


def test_the_documented_body_is_read_in_full() -> None:
    body = {
        "id": "tsk_img_01K",
        "object": "generation.task",
        "model": "grok-4-1-image",
        "status": "completed",
        "progress": 100,
        "created_at": 1_760_000_000,
        "completed_at": 1_760_000_053,
        "expires_at": 1_760_086_453,
        "metadata": {"a": 1},
        "client_business_id": "order-7",
        "result": {"type": "image", "data": [{"url": PICTURE, "z_index": 0}]},
        "billing": {"status": "settled", "credits": "4.50", "cost_usd": "0.0225"},
        "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "tool_usage": {"web_search": 1}},
        "new_key": True,
    }
    task = decode(body)
    assert task.id == "tsk_img_01K"
    assert task.model == "grok-4-1-image"
    assert task.status is TaskStatus.COMPLETED
    assert task.progress == 100
    assert task.created_at == datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
    assert task.completed_at is not None
    assert task.expires_at is not None
    assert (task.expires_at - task.completed_at).total_seconds() == 86_400
    assert [image.url for image in task.images] == [PICTURE]
    assert task.images[0].extra == {"z_index": 0}
    assert task.billing is not None
    assert task.billing.credits == Decimal("4.50")
    assert task.usage is not None
    assert task.usage.total_tokens == 7
    assert task.usage.extra == {"tool_usage": {"web_search": 1}}
    assert task.client_business_id == "order-7"
    assert task.metadata == {"a": 1}
    assert task.raw == body


@pytest.mark.parametrize(
    ("spelling", "status"),
    [
        ("queued", TaskStatus.QUEUED),
        ("pending", TaskStatus.QUEUED),
        ("submitted", TaskStatus.QUEUED),
        ("created", TaskStatus.QUEUED),
        ("", TaskStatus.QUEUED),
        ("in_progress", TaskStatus.IN_PROGRESS),
        ("processing", TaskStatus.IN_PROGRESS),
        ("RUNNING", TaskStatus.IN_PROGRESS),
        ("Completed", TaskStatus.COMPLETED),
        ("failed", TaskStatus.FAILED),
        ("error", TaskStatus.FAILED),
        ("cancelled", TaskStatus.FAILED),
        ("canceled", TaskStatus.FAILED),
        ("expired", TaskStatus.FAILED),
        ("timeout", TaskStatus.FAILED),
        ("succeeded", TaskStatus.UNKNOWN),
        ("reticulating", TaskStatus.UNKNOWN),
    ],
)
def test_every_spelling_has_one_meaning(spelling: str, status: TaskStatus) -> None:
    task = decode({"id": "t", "status": spelling})
    assert task.status is status
    assert task.raw_status == spelling


@pytest.mark.parametrize("spelling", ["succeeded", "SUCCESS", "done"])
def test_unofficial_success_counts_with_a_picture(spelling: str) -> None:
    assert decode({"id": "t", "status": spelling, "url": PICTURE}).status is TaskStatus.COMPLETED


def test_a_missing_status_means_waiting_unless_there_is_an_end() -> None:
    assert decode({"id": "t"}).status is TaskStatus.QUEUED
    assert decode({"id": "t", "url": PICTURE}).status is TaskStatus.COMPLETED


@pytest.mark.parametrize(
    "fields",
    [
        {"result": {"data": [{"url": PICTURE}]}},
        {"result": {"data": [PICTURE]}},
        {"result": {"url": PICTURE}},
        {"result": PICTURE},
        {"url": PICTURE},
        {"result_url": PICTURE},
        {"video_url": PICTURE},
        {"data": [{"url": PICTURE}]},
        {"data": PICTURE},
        {"output": PICTURE},
        {"output": [PICTURE]},
        {"outputs": [{"url": PICTURE}]},
        {"images": [{"url": PICTURE}]},
        {"image_urls": [PICTURE]},
    ],
    ids="-".join,
)
def test_the_url_is_found_in_every_known_place(fields: dict[str, Any]) -> None:
    assert [image.url for image in completed(**fields).images] == [PICTURE]


def test_urls_keep_their_order_come_once_and_the_documented_place_leads() -> None:
    for top in ("https://a/1", "https://a/2", "https://a/3"):
        urls = [f"https://a/{number}" for number in (1, 2, 3)]
        task = completed(url=top, result={"data": [{"url": url} for url in urls]})
        assert [image.url for image in task.images] == urls
    assert [image.url for image in completed(url="https://a/0", data=["https://a/1"]).images] == [
        "https://a/1",
        "https://a/0",
    ]


def test_the_echo_of_the_references_is_not_a_result() -> None:
    task = completed(image_urls=["https://a/reference.png"], result={"data": [{"url": PICTURE}]})
    assert [image.url for image in task.images] == [PICTURE]


def test_inline_base64_becomes_a_data_uri() -> None:
    assert completed(result={"data": [{"b64_json": "aGk="}]}).images[0].url == "data:image/png;base64,aGk="


@pytest.mark.parametrize(
    "body",
    [
        {"id": "t1", "status": "queued"},
        {"task_id": "t1", "status": "queued"},
        {"taskId": "t1"},
        {"success": True, "data": {"task_id": "t1", "status": "queued"}},
        {"data": {"id": "t1", "status": "submitted"}},
        {"code": 200, "data": [{"status": "submitted", "task_id": "t1"}]},
        {"data": {"task": {"id": "t1"}}},
        {"task": {"id": "t1"}},
        {"id": "t1", "task_id": "t1", "object": "video", "status": "", "progress": 0},
    ],
    ids=str,
)
def test_the_id_is_found_in_every_known_place(body: dict[str, Any]) -> None:
    reply = interpret_submit(HttpResponse(status=200, body=json.dumps(body).encode()), client_business_id="mine")
    assert isinstance(reply, Accepted)
    assert reply.task.id == "t1"


def test_the_own_id_may_be_echoed_in_the_metadata() -> None:
    assert decode({"id": "t", "metadata": {"client_business_id": "order-7"}}).client_business_id == "order-7"
    both = {"id": "t", "client_business_id": "", "metadata": {"client_business_id": "order-7"}}
    assert decode(both).client_business_id == "order-7"
    assert decode({"id": "t", "client_business_id": ""}).client_business_id is None
    assert decode({**both, "client_business_id": ["order-8"]}).client_business_id is None


def test_a_numeric_id_becomes_text() -> None:
    assert decode({"id": 12, "status": "queued"}).id == "12"


def test_the_asked_id_stands_in_for_a_missing_one() -> None:
    assert decode({"status": "in_progress"}, asked_id="order-7").id == "order-7"


def test_only_the_first_of_two_glued_values_counts(caplog: pytest.LogCaptureFixture) -> None:
    task = decode(b'{"id":"t","status":"in_progress","progress":10}' + PANIC.encode())
    assert task.status is TaskStatus.IN_PROGRESS
    assert task.progress == 10
    (warning,) = caplog.records
    assert f"{len(PANIC)} characters were ignored" in warning.getMessage()


def test_milliseconds_are_recognised() -> None:
    task = decode({"id": "t", "status": "queued", "created_at": 1_760_000_000_500})
    assert task.created_at == datetime(2025, 10, 9, 8, 53, 20, 500_000, tzinfo=UTC)


@pytest.mark.parametrize("value", ["soon", [], {}, True, -1e300, float("nan"), float("inf")])
def test_a_field_of_the_wrong_type_costs_that_field_only(value: Any) -> None:
    fields = ("progress", "created_at", "billing", "usage", "model", "client_business_id", "metadata")
    task = decode({"id": "t", "status": "queued", **dict.fromkeys(fields, value)})
    assert task.status is TaskStatus.QUEUED
    assert task.created_at is None
    assert "created_at" in task.raw


@pytest.mark.parametrize("amount", ["many", "NaN", "Infinity", 2.5, True, {}, None])
def test_an_amount_that_is_none_is_left_out(amount: Any) -> None:
    task = decode({"id": "t", "status": "queued", "billing": {"status": "settled", "credits": amount, "cost_usd": 0}})
    assert task.billing is not None
    assert (task.billing.status, task.billing.credits, task.billing.cost_usd) == ("settled", None, Decimal(0))


def test_failures_keep_code_and_message() -> None:
    task = decode({"id": "t", "status": "failed", "error": {"code": 422, "message": "no"}})
    assert task.error is not None
    assert (task.error.code, task.error.message) == ("422", "no")
    nested = decode({"id": "t", "status": "failed", "error": {"error": {"type": "x", "message": "deep"}}})
    assert nested.error is not None
    assert (nested.error.code, nested.error.message) == ("x", "deep")
    older = decode({"id": "t", "status": "failed", "fail_reason": "upstream"})
    assert older.error is not None
    assert older.error.message == "upstream"


def test_tasks_compare_by_value_and_cannot_be_hashed() -> None:
    body = {"id": "t", "status": "queued"}
    assert decode(body) == decode(body)
    assert decode(body) != decode({**body, "progress": 1})
    with pytest.raises(TypeError):
        hash(decode(body))


@pytest.mark.parametrize("body", [b"", b"<html>", b"nul", b"[]", b"3", b'"x"', b"{}", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_task_is_a_decode_error(body: bytes) -> None:
    with pytest.raises(DecodeError):
        interpret_query(HttpResponse(status=200, body=body), asked_id="t")


@pytest.mark.parametrize(
    "body",
    [
        '{"id":"t",' + PANIC[1:],
        '{"id":"t","status":"",' + PANIC[1:],
        '{"id":"t","status":"error",' + PANIC[1:],
        '{"status":"error","message":"service busy"}',
        '{"status":"timeout"}',
        '{"status":[]}',
        '{"id":"req_1","error":{"code":"internal_error","message":"no"}}',
        '{"success":false,"message":"no","url":"https://a/b"}',
    ],
)
def test_an_error_is_not_taken_for_a_state(body: str) -> None:
    with pytest.raises(ToapisError):
        decode(body.encode())
    reply = interpret_submit(HttpResponse(status=200, body=body.encode()), client_business_id="mine")
    assert isinstance(reply, Ambiguous)


def test_a_failed_task_may_carry_any_error() -> None:
    assert decode(('{"id":"t","status":"failed",' + PANIC[1:]).encode()).status is TaskStatus.FAILED
    assert decode({"id": "t", "status": "cancelled", "error": {"message": "no"}}).status is TaskStatus.FAILED


@pytest.mark.parametrize("task_id", ["..", ".", "", "a\ud800", None, True, 1.5])
def test_an_id_that_cannot_be_asked_for_is_none(task_id: Any) -> None:
    body = {"id": task_id, "status": "queued"}
    assert decode(body, asked_id="mine").id == "mine"
    response = HttpResponse(status=200, body=json.dumps(body).encode())
    assert isinstance(interpret_submit(response, client_business_id="mine"), Ambiguous)


def test_lists_in_lists_are_no_pictures() -> None:
    nested: Any = "https://a/b"
    for _ in range(900):
        nested = [nested]
    assert completed(data=nested).images == ()


def test_the_references_of_a_running_task_are_no_pictures() -> None:
    assert decode({"id": "t", "status": "", "image_urls": [PICTURE]}).status is TaskStatus.QUEUED
    assert completed(result={"data": []}, image_urls=[PICTURE]).images == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
known_keys = st.sampled_from([
    *("id", "task_id", "status", "data", "result", "url", "error", "code", "message", "type", "created_at"),
    *("expires_at", "progress", "images", "image_urls", "output", "billing", "usage", "metadata", "model"),
    *("task", "success", "credits"),
])
bodies = st.recursive(
    json_values,
    lambda inner: st.dictionaries(known_keys, inner, max_size=8) | st.lists(inner, max_size=3),
    max_leaves=20,
)


@given(bodies, st.sampled_from([200, 201, 400, 401, 403, 404, 422, 429, 500, 503]))
def test_any_json_is_a_task_or_a_documented_error(value: Any, status: int) -> None:
    response = HttpResponse(status=status, body=json.dumps(value).encode())
    try:
        seen = interpret_query(response, asked_id="t")
    except ToapisError:
        pass
    else:
        assert isinstance(seen, Seen)
    assert isinstance(interpret_submit(response, client_business_id="c"), Accepted | Refused | Rejected | Ambiguous)


@given(st.binary(max_size=200), st.dictionaries(st.sampled_from(["Retry-After", "Date"]), st.text(max_size=40)))
def test_any_bytes_are_a_task_or_a_documented_error(body: bytes, headers: dict[str, str]) -> None:
    response = HttpResponse(status=200, body=body, headers=headers)
    with pytest.raises(ToapisError):
        interpret_query(HttpResponse(status=429, body=body, headers=headers), asked_id="t")
    assert isinstance(interpret_submit(response, client_business_id="c"), Accepted | Refused | Rejected | Ambiguous)
