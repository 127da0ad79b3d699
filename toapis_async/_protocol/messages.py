"""One HTTP exchange as two values."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen(kw_only=True)
class HttpRequest:
    """A request to the API. The path is relative to the base URL, already percent-encoded."""

    method: str
    path: str
    body: bytes | None = None
    """JSON."""


@frozen(kw_only=True)
class HttpResponse:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """Looked up by the names as written in this package: pass a case-insensitive mapping from the wire."""
    body: bytes = b""
