"""What goes back over the wire: a reply as a plain value, and the bodies the service is known to send."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

BodyShape = Literal["error", "untyped", "integer", "flat", "message", "text", "nested", "success"]
"""The spellings of an error body seen from ToAPIs and from clients in the field; see `error_reply`."""

JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"

PANIC = (
    b'{"error":{"message":"Panic detected, error: runtime error: invalid memory address or nil pointer '
    b'dereference. Please submit an issue","type":"new_api_panic"}}'
)
"""The body of a crashed gateway, seen in the field alone (HTTP 200 or 500) and glued behind a good task."""


@frozen(kw_only=True)
class Delivery:
    """How the bytes of a reply go out. The default: at once, and the connection is kept."""

    piece: int | None = None
    """Body bytes per write. `None` (default): the whole body in one write."""
    interval: float = 0.0
    """Seconds between two writes; `math.inf` stops for ever after the first piece."""
    chunked: bool = False
    """Send `Transfer-Encoding: chunked` instead of a `Content-Length`."""
    cut_after: int | None = None
    """Drop the connection after this many body bytes; the announced length stays that of the whole body."""
    end: Literal["keep", "close", "announce", "reset"] = "keep"
    """What becomes of the connection after the last byte: kept, closed without notice, closed with an
    announced
    `Connection: close`, or reset (RST). A connection cut by `cut_after` is closed, or reset if this says
    so."""

    def __attrs_post_init__(self) -> None:
        if self.piece is not None and self.piece < 1:
            raise ValueError("piece must be at least one byte")
        if not self.interval >= 0:
            raise ValueError("interval must be zero or more seconds")
        if self.interval and self.piece is None:
            raise ValueError("interval needs piece: a body sent in one write has no pauses")
        if self.cut_after is not None and self.cut_after < 0:
            raise ValueError("cut_after must be zero or more bytes")

    @property
    def is_plain(self) -> bool:
        """Whether the reply is sent in the ordinary way."""
        return self == _PLAIN


_PLAIN = Delivery()


@frozen(kw_only=True)
class Reply:
    """One HTTP reply as a value: what the service says, and how it is delivered."""

    status: int = 200
    """HTTP status code."""
    body: bytes = b""
    """The body, exactly as it goes over the wire."""
    headers: Mapping[str, str] = field(factory=lambda: {"Content-Type": JSON_TYPE})
    """Header fields. `Content-Length`, `Date` and `Server` are added when it is sent."""
    delivery: Delivery = _PLAIN
    """How the bytes are sent."""


def json_reply(status: int, value: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON reply, with `headers` beside its content type."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    body = text.encode("utf-8", "replace")  # lone surrogates are legal in JSON, but not in UTF-8
    return Reply(status=status, body=body, headers={"Content-Type": JSON_TYPE, **(headers or {})})


def html_reply(status: int, title: str, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a small HTML page, as gateways and the web console send it."""
    page = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Reply(status=status, body=page.encode(), headers={"Content-Type": HTML_TYPE, **(headers or {})})


def gateway_reply(status: int) -> Reply:
    """Return the HTML page of the CDN in front (seen with 502, 504, 520 and 524)."""
    return html_reply(status, f"{status} Gateway Error", {"Server": "volc-dcdn"})


def panic_reply(status: int = 200) -> Reply:
    """Return the crash report of the gateway, seen in the field with HTTP 200 and 500."""
    return Reply(status=status, body=PANIC)


def error_body(status: int, code: str, message: str, type_: str, shape: BodyShape) -> object:
    """Return the JSON value of an error in one of its spellings; see `error_reply`."""
    inner = {"code": code, "message": message, "type": type_}
    bodies: dict[BodyShape, object] = {
        "error": {"error": inner},
        "untyped": {"error": {"code": code, "message": message}},
        "integer": {"error": {"code": status, "message": message, "type": type_}},
        "flat": {"code": code, "message": message},
        "message": {"message": code},
        "text": {"error": message},
        "nested": {"error": {"error": inner}},
        "success": {"success": False, "message": message},
    }
    return bodies[shape]


def error_reply(
    status: int,
    code: str,
    message: str = "",
    *,
    type_: str | None = None,
    shape: BodyShape = "error",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return an error of the service. `type_` defaults to `code`, `message` to a text that names it.

    `shape` is the spelling of the body: "error" is `{error: {code, message, type}}` (documented), "untyped" the
    same without a type (documented for rate limits), "integer" the same with the HTTP status as an integer code
    (documented for 401 and 404), "flat" `{code, message}`, "message" `{message: code}`, "text"
    `{error: message}`, "nested" `{error: {error: {...}}}` and "success" `{success: false, message}` (all seen in
    the field).
    """
    text = message or f"simulated {code}"
    return json_reply(status, error_body(status, code, text, type_ or code, shape), headers)
