"""An answer's JSON to a task, wherever in it and in whatever spelling the task stands."""

from __future__ import annotations

import json
import logging
import re
from codecs import BOM_UTF8
from typing import Any, Final, TypeGuard
from urllib.parse import quote

from ..errors import DecodeError
from ..models import GeneratedImage, GenerationTask, TaskFailure
from .converter import OPTIONAL
from .lifecycle import DOCUMENTED_STATUSES, read_status

PANIC: Final = "new_api_panic"
"""The error type of a crashed gateway: whatever it stands beside, it is no answer."""

_ID_KEYS: Final = ("id", "task_id", "taskId")
_URL_KEYS: Final = ("url", "result_url", "image_url", "video_url", "b64_json")
_LIST_KEYS: Final = ("data", "outputs", "output")
_SHARED_KEYS: Final = ("images", "image_urls")  # also what a request calls its references: the last resort
_PLACES: Final = frozenset({"result", *_URL_KEYS, *_LIST_KEYS, *_SHARED_KEYS})
_PLAIN: Final = re.compile(r"[0-9A-Za-z_~-][0-9A-Za-z_.~-]*")  # text that stands for itself in a URL
_decoder = json.JSONDecoder()
_logger = logging.getLogger("toapis_async")


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def first_json_value(body: bytes, *, is_known: bool = False) -> Any:
    """Return the first JSON value of `body`: the service was seen to glue a second one behind it.

    That is warned of, unless the answer `is_known`, that is was read before.

    Raises:
        DecodeError: there is no JSON value at the start.

    """
    text = body.removeprefix(BOM_UTF8).decode(errors="replace").lstrip()
    try:
        value, end = _decoder.raw_decode(text)
    except (ValueError, RecursionError) as error:
        kind = "an HTML page" if text.startswith("<") else "no JSON" if text else "an empty body"
        problem = f"expected JSON, got {kind} ({type(error).__name__})"
    else:
        if not is_known and text[end:].strip():
            _logger.warning("An answer went on behind its JSON value; %d characters were ignored", len(text) - end)
        return value
    raise DecodeError([problem], excerpt=text[:200])


def decode_task(body: Any, *, asked_id: str | None) -> GenerationTask | None:
    """Find the task in a decoded body, in any of the places where clients met it.

    `asked_id` stands in for an id that the answer does not repeat. None if there is no task in it.
    """
    holder = _find_task(body)
    if holder is None and asked_id is not None and _is_object(body) and _looks_like_task(body):
        holder = body
    if holder is None or _is_only_an_error(holder):
        return None
    return _structure(body, holder, asked_id)


def decode_inline_result(body: Any, *, client_business_id: str) -> GenerationTask | None:
    """Read an answer that already holds the pictures and no task id; None if it is not one."""
    if not _is_object(body) or body.get("error") or body.get("success") is False or not _images(body):
        return None
    return _structure(body, {**body, "status": "completed"}, client_business_id)


def _find_task(body: Any) -> dict[str, Any] | None:
    if not _is_object(body):
        return None
    if _task_id(body) is not None:
        return body
    data = body.get("data")
    first = data[0] if isinstance(data, list) and data else data  # pyright: ignore[reportUnknownVariableType]
    candidates: list[Any] = [body.get("task"), first, first.get("task") if _is_object(first) else None]
    for candidate in candidates:
        if _is_object(candidate) and _task_id(candidate) is not None:
            return candidate
    return None


def _looks_like_task(body: dict[str, Any]) -> bool:
    """Whether an answer without an id is a state all the same; gateways have a `status` of their own."""
    return body.get("object") == "generation.task" or _spelling(body) in DOCUMENTED_STATUSES


def _is_only_an_error(holder: dict[str, Any]) -> bool:
    """Whether an error stands where the state should be; it may carry an id, of the request for instance."""
    if not holder.get("error"):
        return False
    spelling = _spelling(holder)
    if spelling in DOCUMENTED_STATUSES or _images(holder):
        return False
    return not spelling or PANIC in str(holder["error"])


def _spelling(holder: dict[str, Any]) -> str:
    status = holder.get("status")
    return status.strip().lower() if isinstance(status, str) else ""


def _task_id(holder: dict[str, Any]) -> str | None:
    for key in _ID_KEYS:
        value = holder.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and path_segment(value) is not None:
            return value
    return None


def path_segment(task_id: Any) -> str | None:
    """Percent-encode an id for use in a path; None if that is not possible."""
    if isinstance(task_id, str) and _PLAIN.fullmatch(task_id):
        return task_id
    try:
        segment = quote(task_id, safe="")
    except (TypeError, ValueError):
        return None
    return None if segment in {"", ".", ".."} or "%00" in segment else segment


def _structure(body: dict[str, Any], holder: dict[str, Any], asked_id: str | None) -> GenerationTask:
    images = _images(holder) or (_images(body) if holder is not body else ())
    raw_status = holder.get("status")
    spelling = raw_status if isinstance(raw_status, str) else ""
    metadata = holder.get("metadata")
    if not _is_object(metadata):
        metadata = {}
    known = {name: read(holder[name]) for name, read in OPTIONAL.items() if holder.get(name) is not None}
    if not holder.get("client_business_id"):
        known["client_business_id"] = OPTIONAL["client_business_id"](metadata.get("client_business_id"))
    return GenerationTask(
        id=_task_id(holder) or asked_id or "",
        status=read_status(spelling, has_images=bool(images)),
        raw_status=spelling,
        images=images,
        error=_failure(holder),
        metadata=metadata,
        raw=body,
        **known,
    )


def _failure(holder: dict[str, Any]) -> TaskFailure | None:
    error = holder.get("error") or holder.get("fail_reason")
    if isinstance(error, str):
        return TaskFailure(message=error)
    if not _is_object(error):
        return None
    inner = error.get("error")
    if _is_object(inner):
        error = inner
    code = error.get("code") or error.get("type")
    message = error.get("message")
    return TaskFailure(message=message if isinstance(message, str) else "", code=str(code) if code else None)


def _images(holder: dict[str, Any]) -> tuple[GeneratedImage, ...]:
    """Collect result items from every known place, the documented one first, each URL once."""
    if holder.keys().isdisjoint(_PLACES):
        return ()  # nearly every answer: the task still runs
    result = holder.get("result")
    places: list[Any] = []
    if _is_object(result):
        places += [result[key] for key in _LIST_KEYS + _SHARED_KEYS if key in result] + [result]
    elif result is not None:
        places.append(result)
    places += [holder[key] for key in _LIST_KEYS if key in holder] + [holder]
    found: dict[str, GeneratedImage] = {}
    for place in places:
        for image in _items(place):
            found.setdefault(image.url, image)
    if not found and result is None and _spelling(holder) == "completed":
        for image in (image for key in _SHARED_KEYS for image in _items(holder.get(key))):
            found.setdefault(image.url, image)
    return tuple(found.values())


def _items(place: Any) -> list[GeneratedImage]:
    if isinstance(place, str):
        return [GeneratedImage(url=place)] if place.startswith(("http://", "https://", "data:image/")) else []
    if isinstance(place, list):
        return [item for entry in place if not isinstance(entry, list) for item in _items(entry)]  # pyright: ignore[reportUnknownVariableType]
    if not _is_object(place):
        return []
    for key in _URL_KEYS:
        value = place.get(key)
        if isinstance(value, str) and value:
            url = value if key != "b64_json" or value.startswith("data:") else f"data:image/png;base64,{value}"
            return [GeneratedImage(url=url, extra={name: v for name, v in place.items() if name != key})]
    return []
