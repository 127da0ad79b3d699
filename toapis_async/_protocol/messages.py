"""One HTTP exchange as two values."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping

from attrs import field, frozen


@frozen(kw_only=True, eq=False)
class StreamedBody:
    """A body that is read while it is sent, once."""

    content_type: str
    length: int
    """Bytes."""
    pieces: AsyncIterable[bytes]


@frozen(kw_only=True)
class HttpRequest:
    """A request to the API. The path is relative to the base URL, already percent-encoded."""

    method: str
    path: str
    body: bytes | None = None
    """JSON."""
    stream: StreamedBody | None = None
    """A body of another kind, instead."""


@frozen(kw_only=True)
class HttpResponse:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """Looked up by the names as written in this package: pass a case-insensitive mapping from the wire."""
    body: bytes = b""
