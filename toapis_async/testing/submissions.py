"""What the service checks before it accepts a task: the JSON body of the POST and the limits of its model."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NoReturn, cast

from attrs import frozen

from .catalogue import MODELS, Model
from .replies import Reply, error_reply
from .uploads import PATH as UPLOADS_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .uploads import Upload

REJECT_MARKER = "[[reject]]"
"""A prompt with this text is refused by moderation: HTTP 422 `content_policy_violation`, nothing is
charged."""
FAIL_MARKER = "[[fail]]"
"""A task whose prompt has this text is accepted and charged, fails at its end, and is refunded."""

_PIXELS = re.compile(r"\d+\s*[xX*]\s*\d+")


class RefusedError(Exception):
    """The service does not accept the request; `reply` says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


@frozen(kw_only=True)
class Submission:
    """A request that passed the checks."""

    model: str
    prompt: str
    size: str
    n: int
    references: tuple[str, ...]
    client_business_id: str | None


def read_submission(body: bytes) -> tuple[Submission, Model]:
    """Return the checked request and the rules of its model. Raises `RefusedError`."""
    fields = _read_object(body)
    order = Submission(
        model=_read_text(fields, "model", required=True),
        prompt=_read_text(fields, "prompt", required=True),
        size=_read_text(fields, "size") or "1:1",
        n=_read_count(fields),
        references=_read_references(fields),
        client_business_id=_read_client_id(fields),
    )
    if fields.get("callback_url") is not None:
        _refuse(400, "webhook_not_configured", "the API key has no webhook address configured")
    model = MODELS.get(order.model)
    if model is None:
        raise _no_channel(order.model)
    _check_limits(order, model, sized=fields.get("size") is not None)
    if REJECT_MARKER in order.prompt:
        _refuse(422, "content_policy_violation", "the prompt violates the content policy")
    return order, model


def _read_object(body: bytes) -> dict[str, object]:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        _refuse(400, "invalid_request", "the body is not valid JSON")
    if not isinstance(value, dict):
        _refuse(400, "invalid_request", "the body must be a JSON object")
    return cast("dict[str, object]", value)


def _read_text(fields: dict[str, object], name: str, *, required: bool = False) -> str:
    value = fields.get(name)
    if value is None:
        value = ""
    if not isinstance(value, str):
        _refuse(400, "invalid_request", f"{name} must be a string")
    if required and not value:
        _refuse(400, "invalid_request", f"{name} is required")
    return value


def _read_count(fields: dict[str, object]) -> int:
    value = fields.get("n")
    if value is None:
        return 1
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse(400, "invalid_request", "n must be a JSON number without decimals")
    return value


def _read_client_id(fields: dict[str, object]) -> str | None:
    metadata = fields.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        _refuse(400, "invalid_request", "metadata must be an object")
    nested = cast("dict[str, object]", metadata)
    return _read_text(fields, "client_business_id") or _read_text(nested, "client_business_id") or None


def _read_references(fields: dict[str, object]) -> tuple[str, ...]:
    given = [name for name in ("image_urls", "reference_images") if fields.get(name) is not None]
    if len(given) > 1:
        _refuse(400, "invalid_request", "send either image_urls or reference_images")
    if not given:
        return ()
    items = fields[given[0]]
    if not isinstance(items, list):
        _refuse(400, "invalid_request", f"{given[0]} must be an array")
    return tuple(_read_reference(item, given[0]) for item in cast("list[object]", items))


def _read_reference(item: object, name: str) -> str:
    if not isinstance(item, str):
        _refuse(400, "invalid_request", f"the items of {name} must be strings")
    if not item.lower().startswith(("http://", "https://")):
        _refuse(400, "invalid_reference_images", "reference images must be public URLs; base64 is not accepted")
    return item


def check_references(references: Sequence[str], origin: str, uploads: Sequence[Upload]) -> None:
    """Refuse references to uploads that do not exist, or from which nothing is generated. Raises `RefusedError`."""
    own = [url for url in references if url.startswith(f"{origin}{UPLOADS_PATH}")]
    kinds = {upload.url: upload.mime_type for upload in uploads} if own else {}
    for url in own:
        if kinds.get(url) is None:
            _refuse(400, "invalid_reference_images", "a reference image cannot be loaded")
        if kinds[url] == "image/gif":
            _refuse(400, "invalid_reference_images", "reference images must be JPEG, PNG or WebP")


def _check_limits(order: Submission, model: Model, *, sized: bool) -> None:
    if model.prompt_limit is not None and len(order.prompt) > model.prompt_limit:
        _refuse(400, "invalid_parameter", f"the prompt is longer than {model.prompt_limit} characters")
    if order.n not in model.counts:
        _refuse(400, "invalid_parameter", f"n must be one of {sorted(model.counts)}")
    if model.references is not None and len(order.references) > model.references:
        _refuse(400, "invalid_reference_images", f"at most {model.references} reference images are allowed")
    if not sized or model.sizes is None or order.size in model.sizes:
        return
    if model.pixels_have_no_channel and _PIXELS.fullmatch(order.size):
        raise _no_channel(order.model)
    _refuse(400, "invalid_parameter", f"size {order.size} is not supported by {order.model}")


def _no_channel(model: str) -> RefusedError:
    # A configuration error that wears a 503, as seen in the field: it lasts until the request changes.
    message = f"no available channel for model {model}"
    return RefusedError(error_reply(503, "model_not_found", message, type_="new_api_error"))


def _refuse(status: int, code: str, message: str) -> NoReturn:
    raise RefusedError(error_reply(status, code, message, type_="invalid_request_error"))
