"""Faults that spoil a reply of the service: processed, and if a submit, charged."""

from __future__ import annotations

import gzip as gzip_codec
import json
from typing import TYPE_CHECKING, Literal, Unpack, cast

from attrs import evolve

from ..injection import Fault, Transform, WhereAny
from ..replies import PANIC, Delivery, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def transform(change: Callable[[Reply], Reply], **where: Unpack[WhereAny]) -> Fault:
    """Send what `change` makes of the service's reply."""
    return Fault(action=Transform(change), when="after", **where)


def edit_json(change: Callable[[dict[str, object]], object], **where: Unpack[WhereAny]) -> Fault:
    """Send what `change` returns for the JSON object in the reply; other bodies stay as they are."""

    def edited(reply: Reply) -> Reply:
        try:
            value: object = json.loads(reply.body)
        except ValueError:
            return reply
        if not isinstance(value, dict):
            return reply
        changed = change(cast("dict[str, object]", value))
        return evolve(reply, body=json.dumps(changed, ensure_ascii=False).encode("utf-8", "replace"))

    return transform(edited, **where)


def respell(spelling: Mapping[str, object] | Callable[[str], object], **where: Unpack[WhereAny]) -> Fault:
    """Report task states in another spelling: `{"completed": "SUCCEEDED"}`, or a function (`str.upper`)."""

    def respelled(body: dict[str, object]) -> object:
        status = body.get("status")
        if isinstance(status, str):
            body["status"] = spelling(status) if callable(spelling) else spelling.get(status, status)
        return body

    return edit_json(respelled, **where)


def glue(extra: bytes = PANIC, **where: Unpack[WhereAny]) -> Fault:
    """Append a second JSON value to the body; a crash report behind a good task was seen in the field."""
    return transform(lambda reply: evolve(reply, body=reply.body + extra), **where)


def truncate(keep: int | None = None, **where: Unpack[WhereAny]) -> Fault:
    """Send only `keep` bytes of the body (default: half) as a complete reply: its JSON is broken."""

    def truncated(reply: Reply) -> Reply:
        return evolve(reply, body=reply.body[: len(reply.body) // 2 if keep is None else keep])

    return transform(truncated, **where)


def oversize(size: int, **where: Unpack[WhereAny]) -> Fault:
    """Pad the body with spaces to `size` bytes; JSON stays valid."""
    return transform(lambda reply: evolve(reply, body=reply.body.ljust(size)), **where)


def gzip(**where: Unpack[WhereAny]) -> Fault:
    """Compress the body (`Content-Encoding: gzip`), whether the client asked for it or not."""

    def compressed(reply: Reply) -> Reply:
        body = gzip_codec.compress(reply.body, mtime=0)
        return evolve(reply, body=body, headers={**reply.headers, "Content-Encoding": "gzip"})

    return transform(compressed, **where)


def content_type(value: str, **where: Unpack[WhereAny]) -> Fault:
    """Send the body under another `Content-Type`."""
    return transform(lambda reply: evolve(reply, headers={**reply.headers, "Content-Type": value}), **where)


def dribble(piece: int = 16, interval: float = 0.1, *, chunked: bool = False, **where: Unpack[WhereAny]) -> Fault:
    """Send the body in pieces of `piece` bytes, `interval` seconds apart.

    `math.inf` stops for ever after the first piece. `chunked` sends no `Content-Length`.
    """

    def slowly(way: Delivery) -> Delivery:
        return evolve(way, piece=piece, interval=interval, chunked=chunked or way.chunked)

    return _deliver(slowly, **where)


def cut(after: int, *, reset: bool = False, chunked: bool = False, **where: Unpack[WhereAny]) -> Fault:
    """Drop the connection after `after` bytes of the body, although its whole length was announced.

    `reset` drops it with a reset (RST) instead of an ordinary close. `chunked` announces no length at all:
    what is missing then is the last chunk.
    """

    def short(way: Delivery) -> Delivery:
        end: Literal["reset", "close"] = "reset" if reset else "close"
        return evolve(way, cut_after=after, chunked=chunked or way.chunked, end=end)

    return _deliver(short, **where)


def close_after(*, announce: bool = False, **where: Unpack[WhereAny]) -> Fault:
    """Close the kept-alive connection behind the complete reply: without a word, or announced in it."""

    def last(way: Delivery) -> Delivery:
        return evolve(way, end="announce" if announce else "close")

    return _deliver(last, **where)


def _deliver(change: Callable[[Delivery], Delivery], **where: Unpack[WhereAny]) -> Fault:
    change(Delivery())  # impossible arguments are reported where they were given, not when the fault strikes
    return transform(lambda reply: evolve(reply, delivery=change(reply.delivery)), **where)
