"""Requests are checked whole before anything is sent, and encoded as the service wants them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toapis_async import ImageRequest, RequestValidationError
from toapis_async._protocol.endpoints import build_submit
from toapis_async._protocol.profiles import validate


def sent(request: ImageRequest) -> dict[str, Any]:
    built = build_submit(request, "mine")
    assert (built.method, built.path) == ("POST", "/images/generations")
    assert built.body is not None
    body: dict[str, Any] = json.loads(built.body)
    return body


def test_only_what_was_set_is_sent() -> None:
    assert sent(ImageRequest("fox")) == {"model": "grok-4-1-image", "prompt": "fox", "client_business_id": "mine"}


def test_everything_set_is_sent() -> None:
    request = ImageRequest(
        "fox",
        model="grok-4-2-image",
        size="16:9",
        n=4,
        images=["https://a/1.png", "http://a/2.png"],
        callback_url="https://me.example/hook",
        metadata={"seed": 7},
        extra={"trace_id": "x"},
    )
    assert sent(request) == {
        "model": "grok-4-2-image",
        "prompt": "fox",
        "client_business_id": "mine",
        "size": "16:9",
        "n": 4,
        "image_urls": ["https://a/1.png", "http://a/2.png"],
        "callback_url": "https://me.example/hook",
        "metadata": {"seed": 7},
        "trace_id": "x",
    }


def test_a_reference_may_be_written_as_the_service_does_and_is_sent_as_text() -> None:
    request = ImageRequest("fox", images=[{"url": "https://a/1.png"}, "https://a/2.png"])
    assert validate(request) is request
    assert sent(request)["image_urls"] == ["https://a/1.png", "https://a/2.png"]


def test_a_request_does_not_change_when_its_parts_do() -> None:
    metadata = {"seed": 1}
    images = ["https://a/1.png"]
    request = ImageRequest("fox", images=images, metadata=metadata)
    metadata["seed"] = 2
    images.append("https://a/2.png")
    assert sent(request)["metadata"] == {"seed": 1}
    assert sent(request)["image_urls"] == ["https://a/1.png"]


@pytest.mark.parametrize("model", ["grok-4-1-image", "grok-4-2-image"])
@pytest.mark.parametrize("size", [None, "1:1", "2:3", "3:2", "16:9", "9:16"])
@pytest.mark.parametrize("n", [None, 1, 2, 4])
def test_what_the_grok_models_take_passes(model: str, size: str | None, n: int | None) -> None:
    request = ImageRequest("x" * 1000, model=model, size=size, n=n, images=["https://a/b.png"] * 5)
    assert validate(request) is request


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": "x" * 1001}, "prompt: 1001 characters"),
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"size": "4:3"}, "size: '4:3' is not one of 1:1, 2:3, 3:2, 16:9, 9:16"),
        ({"size": 1}, "size"),
        ({"n": 3}, "n: 3 is not one of the numbers 1, 2, 4"),
        ({"n": "1"}, "n: '1'"),
        ({"n": True}, "n: True"),
        ({"n": 1.0}, "n: 1.0"),
        ({"images": "https://a/b.png"}, "images: 'https://a/b.png' is not a list"),
        ({"images": ["https://a/b.png"] * 6}, "images: 6 given"),
        ({"images": ["data:image/png;base64,AAAA"]}, r"images\[0\]"),
        ({"images": ["iVBORw0KGgo="]}, r"images\[0\]"),
        ({"images": ["file:///etc/passwd"]}, r"images\[0\]"),
        ({"images": ["https://a/b.png", "https://"]}, r"images\[1\]"),
        ({"images": ["https://a/b c.png"]}, r"images\[0\]"),
        ({"images": ["http://[1/b.png"]}, r"images\[0\]"),
        ({"images": [7]}, r"images\[0\]"),
        ({"client_business_id": ""}, "client_business_id"),
        ({"client_business_id": "x" * 256}, "client_business_id"),
        ({"client_business_id": "a\nb"}, "client_business_id"),
        ({"client_business_id": 7}, "client_business_id"),
        ({"client_business_id": ".."}, "client_business_id"),
        ({"client_business_id": "tsk_img_mine"}, "looks like a task id"),
        ({"client_business_id": "IMG_7"}, "looks like a task id"),
        ({"client_business_id": "task_7"}, "looks like a task id"),
        ({"client_business_id": "video_7"}, "looks like a task id"),
        ({"client_business_id": "vid_7"}, "looks like a task id"),
        ({"callback_url": "http://me.example"}, "callback_url"),
        ({"metadata": {"a": {1, 2}}}, "metadata"),
        ({"metadata": [1]}, "metadata"),
        ({"extra": {"a": float("nan")}}, "extra"),
        ({"extra": "n"}, "extra: 'n' is not a mapping"),
        ({"extra": {"n": 2}}, r"extra\['n'\]"),
        ({"extra": {"image_urls": []}}, r"extra\['image_urls'\]"),
    ],
    ids=str,
)
def test_what_the_service_refuses_is_refused_before(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(RequestValidationError, match=problem) as caught:
        arguments: dict[str, Any] = {"prompt": "fox", **fields}
        validate(ImageRequest(**arguments))
    assert len(caught.value.problems) == 1


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(RequestValidationError) as caught:
        validate(ImageRequest("", size="x", n=7, images=["data:,"]))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["prompt", "size", "n", "images[0]"]


def test_unknown_models_pass_unchecked() -> None:
    validate(ImageRequest("x" * 5000, model="nano-banana-9", size="21:9", n=10, images=["https://a/b"] * 14))


def test_something_else_than_a_request_is_refused() -> None:
    with pytest.raises(RequestValidationError, match="expected an ImageRequest, got 'a fox'"):
        validate("a fox")
