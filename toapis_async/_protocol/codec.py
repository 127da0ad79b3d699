"""An answer's JSON to a task, wherever in it and in whatever spelling the task stands."""

from __future__ import annotations

import json
import logging
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
_URL_STARTS: Final = ("http://", "https://", "data:image/")
_LIST_KEYS: Final = ("data", "outputs", "output")
_SHARED_KEYS: Final = ("images", "image_urls")  # also what a request calls its references: the last resort
_RESULT_KEYS: Final = _LIST_KEYS + _SHARED_KEYS
_PLACES: Final = frozenset({"result", *_URL_KEYS, *_RESULT_KEYS})
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
    found = _find_task(body)
    if found is None and asked_id is not None and _is_object(body) and _looks_like_task(body):
        found = body, asked_id
    if found is None or _is_only_an_error(found[0]):
        return None
    return _structure(body, *found)


def decode_inline_result(body: Any, *, client_business_id: str) -> GenerationTask | None:
    """Read an answer that already holds the pictures and no task id; None if it is not one."""
    if not _is_object(body) or body.get("error") or body.get("success") is False or not _images(body):
        return None
    return _structure(body, {**body, "status": "completed"}, _task_id(body) or client_business_id)


def _find_task(body: Any) -> tuple[dict[str, Any], str] | None:
    """Return the object that is the task, and its id."""
    if not _is_object(body):
        return None
    if (task_id := _task_id(body)) is not None:
        return body, task_id
    data = body.get("data")
    first = data[0] if isinstance(data, list) and data else data  # pyright: ignore[reportUnknownVariableType]
    candidates: list[Any] = [body.get("task"), first, first.get("task") if _is_object(first) else None]
    for candidate in candidates:
        if _is_object(candidate) and (task_id := _task_id(candidate)) is not None:
            return candidate, task_id
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
    try:
        segment = quote(task_id, safe="")
    except (TypeError, ValueError):
        return None
    return None if segment in {"", ".", ".."} or "%00" in segment else segment


def _structure(body: dict[str, Any], holder: dict[str, Any], task_id: str) -> GenerationTask:
    images = _images(holder) or (_images(body) if holder is not body else ())
    raw_status = holder.get("status")
    spelling = raw_status if isinstance(raw_status, str) else ""
    metadata = holder.get("metadata")
    if not _is_object(metadata):
        metadata = {}
    business_id = holder.get("client_business_id") or metadata.get("client_business_id")
    known = {name: read(holder[name]) for name, read in OPTIONAL.items() if holder.get(name) is not None}
    return GenerationTask(
        id=task_id,
        status=read_status(spelling, has_images=bool(images)),
        raw_status=spelling,
        images=images,
        error=_failure(holder),
        metadata=metadata,
        client_business_id=business_id if isinstance(business_id, str) else None,
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
    found: dict[str, GeneratedImage] = {}
    result = holder.get("result")
    if _is_object(result):
        for key in _RESULT_KEYS:
            if key in result:
                _collect(result[key], found)
    _collect(result, found)
    for key in _LIST_KEYS:
        if key in holder:
            _collect(holder[key], found)
    _collect(holder, found)
    if not found and result is None and _spelling(holder) == "completed":
        for key in _SHARED_KEYS:
            _collect(holder.get(key), found)
    return tuple(found.values())


def _collect(place: Any, found: dict[str, GeneratedImage]) -> None:
    """Add the result item that stands in a place, or those of a list."""
    items: list[Any] = place if isinstance(place, list) else [place]  # pyright: ignore[reportUnknownVariableType]
    for item in items:
        if (image := _read_item(item)) is not None:
            found.setdefault(image.url, image)


def _read_item(item: Any) -> GeneratedImage | None:
    if isinstance(item, str):
        return GeneratedImage(url=item) if item.startswith(_URL_STARTS) else None
    if not _is_object(item) or item.keys().isdisjoint(_URL_KEYS):
        return None
    for key in _URL_KEYS:
        value = item.get(key)
        if isinstance(value, str) and value:
            url = value if key != "b64_json" or value.startswith("data:") else f"data:image/png;base64,{value}"
            return GeneratedImage(url=url, extra={name: v for name, v in item.items() if name != key})
    return None
