"""What is known about each model, and the check of a request that lists every problem at once.

Only what the service certainly refuses is refused here. An unknown model passes with its values unchecked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from ..errors import RequestValidationError
from ..models import ImageRequest, StoredImage

_OWN_FIELDS: Final = frozenset({
    "model",
    "prompt",
    "size",
    "n",
    "image_urls",
    "client_business_id",
    "callback_url",
    "metadata",
})
_LONGEST_ID: Final = 255
# The service looks an id up as a task id or as a business id by its form: these forms are its own.
_TASK_ID_PREFIXES: Final = ("img_", "task_", "tsk_", "video_", "vid_")


@frozen(kw_only=True)
class Profile:
    """The documented bounds of one model."""

    prompt_characters: int
    sizes: tuple[str, ...]
    counts: tuple[int, ...]
    references: int


_GROK: Final = Profile(
    prompt_characters=1000, sizes=("1:1", "2:3", "3:2", "16:9", "9:16"), counts=(1, 2, 4), references=5
)
PROFILES: Final[Mapping[str, Profile]] = {"grok-4-1-image": _GROK, "grok-4-2-image": _GROK}


def validate(request: Any, image_problems: Sequence[str] = ()) -> ImageRequest:
    """Return the request if the service may take it; `image_problems` are those of its local pictures.

    Raises:
        RequestValidationError: with every problem found, each naming field, value and what is allowed.

    """
    if not isinstance(request, ImageRequest):
        raise RequestValidationError([f"request: expected an ImageRequest, got {_show(request)}"])
    problems = [
        *_prompt(request),
        *_model(request),
        *_size_and_count(request),
        *_images(request),
        *image_problems,
        *_client_business_id(request.client_business_id),
        *_callback(request.callback_url),
        *_free_fields(request),
    ]
    if problems:
        raise RequestValidationError(problems, client_business_id=None, model=_text_or_none(request.model))
    return request


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _profile(request: ImageRequest) -> Profile | None:
    return PROFILES.get(request.model) if isinstance(request.model, str) else None  # pyright: ignore[reportUnnecessaryIsInstance]


def _prompt(request: ImageRequest) -> list[str]:
    prompt: Any = request.prompt
    profile = _profile(request)
    if not isinstance(prompt, str) or not prompt.strip():
        return [f"prompt: {_show(prompt)} is not a text with at least one visible character"]
    if profile and len(prompt) > profile.prompt_characters:
        return [f"prompt: {len(prompt)} characters, {request.model} takes at most {profile.prompt_characters}"]
    return []


def _model(request: ImageRequest) -> list[str]:
    model: Any = request.model
    return [] if isinstance(model, str) and model.strip() else [f"model: {_show(model)} is not a model id"]


def _size_and_count(request: ImageRequest) -> list[str]:
    size: Any = request.size
    n: Any = request.n
    profile = _profile(request)
    problems: list[str] = []
    if size is not None and (not isinstance(size, str) or (profile and size not in profile.sizes)):
        allowed = f"one of {', '.join(profile.sizes)}" if profile else "text"
        problems.append(f"size: {_show(size)} is not {allowed}")
    if n is not None:
        is_number = isinstance(n, int) and not isinstance(n, bool) and n >= 1
        if not is_number or (profile and n not in profile.counts):
            allowed = (
                f"one of the numbers {', '.join(map(str, profile.counts))}" if profile else "a whole number from 1"
            )
            problems.append(f"n: {_show(n)} is not {allowed}")
    return problems


def _images(request: ImageRequest) -> list[str]:
    images: Any = request.images
    if not isinstance(images, tuple):
        return [f"images: {_show(images)} is not a list of URLs, paths or bytes"]
    profile = _profile(request)
    problems = [
        f"images[{index}]: {_no_image(image)}"
        for index, image in enumerate(images)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        if not isinstance(image, Path | bytes | StoredImage) and not is_http_url(image)
    ]
    if profile and len(images) > profile.references:  # pyright: ignore[reportUnknownArgumentType]
        problems.append(f"images: {len(images)} given, {request.model} takes at most {profile.references}")  # pyright: ignore[reportUnknownArgumentType]
    return problems


def _no_image(value: Any) -> str:
    if not isinstance(value, str):
        return f"{_show(value)} is not an http(s) URL, a Path or bytes"
    if value.lower().startswith("data:"):
        return f"{_show(value)} is not an http(s) URL (the service refuses data URIs and base64; give the bytes)"
    if "://" in value:
        return f"{_show(value)} is not an http(s) URL"
    return f"{_show(value)} is not an http(s) URL (a local file is given as a Path, a picture in memory as bytes)"


def is_http_url(value: Any, schemes: tuple[str, ...] = ("http", "https")) -> bool:
    """Whether a value is a URL with a host."""
    if not isinstance(value, str) or any(character <= " " for character in value):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in schemes and bool(parts.hostname)
    except ValueError:
        return False


def _client_business_id(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= _LONGEST_ID:
        return [f"client_business_id: {_show(value)} is not 1 to {_LONGEST_ID} printable characters"]
    if value in {".", ".."} or value.lower().startswith(_TASK_ID_PREFIXES):
        return [f"client_business_id: {_show(value)} looks like a task id, so it could not be looked up"]
    return []


def _callback(value: Any) -> list[str]:
    if value is None or is_http_url(value, ("https",)):
        return []
    return [f"callback_url: {_show(value)} is not an https URL"]


def _free_fields(request: ImageRequest) -> list[str]:
    problems: list[str] = []
    free: dict[str, Any] = {"metadata": request.metadata, "extra": request.extra}
    for name, value in free.items():
        if not isinstance(value, dict):
            problems.append(f"{name}: {_show(value)} is not a mapping")
            continue
        if not value:
            continue
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            problems.append(f"{name}: cannot be sent as JSON ({error})")
    if isinstance(request.extra, dict):
        problems += [
            f"extra[{name!r}]: is a field of its own, set it on the request"
            for name in sorted(_OWN_FIELDS & set(request.extra))
        ]
    return problems
