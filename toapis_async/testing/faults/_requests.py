"""Faults that answer a request, or do not, in place of the service."""

from __future__ import annotations

import math
from email.utils import formatdate
from typing import TYPE_CHECKING, Unpack

from ..injection import Drop, Fault, Respond, Subject, Wait, When, Where, WhereAny
from ..replies import BodyShape, Reply, error_reply, gateway_reply, html_reply, panic_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def reply_with(reply: Reply | Callable[[Subject], Reply], *, when: When, **where: Unpack[WhereAny]) -> Fault:
    """Send this reply, or the one the function computes, instead of the service's own."""
    return Fault(action=Respond(reply), when=when, **where)


def drop(*, when: When, reset: bool = True, **where: Unpack[WhereAny]) -> Fault:
    """Drop the connection without a reply: reset, or closed if `reset` is false.

    `when="before"` without `match` does it before the body of the request is read.
    """
    return Fault(action=Drop(reset), when=when, **where)


def hang(*, when: When, **where: Unpack[WhereAny]) -> Fault:
    """Never reply, and keep the connection open."""
    return Fault(action=Wait(math.inf), when=when, **where)


def delay(seconds: float, *, when: When, **where: Unpack[WhereAny]) -> Fault:
    """Process the request `seconds` later, or send the finished reply that much later.

    A client that gives up meanwhile changes nothing: a submit delayed "before" is accepted all the same.
    """
    return Fault(action=Wait(seconds), when=when, **where)


def error(
    status: int,
    code: str,
    message: str = "",
    *,
    when: When = "before",
    shape: BodyShape = "error",
    headers: Mapping[str, str] | None = None,
    **where: Unpack[WhereAny],
) -> Fault:
    """Reply with an error of the service, in any of the body shapes explained at `error_reply`."""
    return reply_with(error_reply(status, code, message, shape=shape, headers=headers), when=when, **where)


def gateway_page(status: int = 504, *, when: When, **where: Unpack[WhereAny]) -> Fault:
    """Reply with the HTML page of the CDN (502, 504, 520 and 524 were seen, and 200)."""
    return reply_with(gateway_reply(status), when=when, **where)


def panic(status: int = 200, *, when: When, **where: Unpack[WhereAny]) -> Fault:
    """Reply with the crash report of the gateway alone (`new_api_panic`, seen with 200 and 500)."""
    return reply_with(panic_reply(status), when=when, **where)


def redirect(location: str, status: int = 302, **where: Unpack[WhereAny]) -> Fault:
    """Redirect to another address, for instance to another origin, before processing."""
    return reply_with(html_reply(status, f"{status} Redirect", {"Location": location}), when="before", **where)


def throttle(
    retry_after: float | str | None = 1,
    *,
    as_date: bool = False,
    code: str = "rate_limit_exceeded",
    headers: Mapping[str, str] | None = None,
    **where: Unpack[WhereAny],
) -> Fault:
    """Reply 429 before processing.

    `retry_after`: seconds, any text as it is ("nan", "soon"), or `None` for no such header. `as_date` sends
    the seconds as an HTTP-date by the service's clock, which the `Date` header also shows.
    """
    hint = _retry_after(retry_after, as_date=as_date)

    def respond(subject: Subject) -> Reply:
        text = "rate limit exceeded, please slow down"
        return error_reply(429, code, text, shape="untyped", headers={**(headers or {}), **hint(subject)})

    return reply_with(respond, when="before", **where)


def limiter_down(
    retry_after: float | str | None = 1,
    *,
    as_date: bool = False,
    headers: Mapping[str, str] | None = None,
    **where: Unpack[Where],
) -> Fault:
    """Reply 503 `rate_limit_unavailable` to submits, before processing.

    ToAPIs documents it for the time when the rate limiter itself is down; queries pass. Arguments as for
    `throttle`.
    """
    hint = _retry_after(retry_after, as_date=as_date)

    def respond(subject: Subject) -> Reply:
        text, fields = "rate limiter unavailable", {**(headers or {}), **hint(subject)}
        return error_reply(503, "rate_limit_unavailable", text, shape="untyped", headers=fields)

    return reply_with(respond, when="before", kind="submit", **where)


def _retry_after(value: float | str | None, *, as_date: bool) -> Callable[[Subject], dict[str, str]]:
    """Return what computes the `Retry-After` field, if there is to be one."""
    if as_date:
        if value is None or isinstance(value, str):
            raise ValueError("a date needs retry_after in seconds")
        return lambda subject: {"Retry-After": formatdate(subject.unix_time + value, usegmt=True)}
    if value is None:
        return lambda _: {}
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return lambda _: {"Retry-After": text}
