"""Faults in what the service knows or tells about its tasks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Unpack

from ..injection import Fault, Reschedule, Subject, Wait, Where, WhereAny
from ..replies import Reply, error_reply, panic_reply
from ..service import FAILURE_MESSAGE
from ._replies import edit_json
from ._requests import reply_with

if TYPE_CHECKING:
    from collections.abc import Callable


def lasts(seconds: float, **where: Unpack[Where]) -> Fault:
    """Let the accepted task end `seconds` after acceptance; `math.inf`: never."""
    return Fault(action=Reschedule(seconds), when="after", kind="submit", **where)


def never_finishes(**where: Unpack[Where]) -> Fault:
    """Let the accepted task stay `in_progress` for ever."""
    return lasts(math.inf, **where)


def fails(message: str = FAILURE_MESSAGE, *, seconds: float | None = None, **where: Unpack[Where]) -> Fault:
    """Let the accepted task fail at its end, or `seconds` after acceptance; its charge is refunded."""
    return Fault(action=Reschedule(seconds, message), when="after", kind="submit", **where)


def urls_missing(seconds: float, *, result_key: bool = True, **where: Unpack[Where]) -> Fault:
    """Report tasks as completed, but without URLs until `seconds` after completion.

    `result_key=False` leaves out `result` altogether instead of sending it with an empty list. `times` is
    `None` unless given: it lasts for ever and hits all tasks that match.
    """

    def emptied(body: dict[str, object]) -> object:
        if body.pop("result", None) is not None and result_key:
            body["result"] = {"type": "image", "data": []}
        return body

    def fresh(subject: Subject) -> bool:
        return subject.finished_for is not None and subject.finished_for < seconds

    return edit_json(emptied, **_queries(where, fresh))


def invisible(
    seconds: float,
    *,
    by: Literal["id", "client_business_id"] = "client_business_id",
    reply: Reply | None = None,
    **where: Unpack[Where],
) -> Fault:
    """Do not find a task by one of its two ids until `seconds` after acceptance.

    The default reply is 404 `task_not_found`; seen as well: `panic_reply()`, and
    `error_reply(400, "task_not_exist", shape="message")`. `times` is `None` unless given.
    """
    not_found = error_reply(404, "task_not_found", "任务不存在 (task not found)", type_="not_found_error")

    def too_early(subject: Subject) -> bool:
        return subject.looked_up_by == by and subject.age is not None and subject.age < seconds

    return reply_with(reply or not_found, when="before", **_queries(where, too_early))


def unknown_ids_panic(status: int = 200, **where: Unpack[Where]) -> Fault:
    """Reply with a crash report to queries for unknown ids, as seen in the field.

    `times` is `None` unless given.
    """
    return reply_with(panic_reply(status), when="before", **_queries(where, lambda subject: subject.task_id is None))


def clock_skew(*, created: int = 0, completed: int = 0, **where: Unpack[WhereAny]) -> Fault:
    """Report `created_at` and `completed_at` so many seconds off (negative: too early).

    `times` is `None` unless given, and the reply to the POST is changed like those to queries.
    """
    shifts = {"created_at": created, "completed_at": completed}

    def shifted(body: dict[str, object]) -> object:
        for name, seconds in shifts.items():
            value = body.get(name)
            if isinstance(value, int):
                body[name] = value + seconds
        return body

    chosen: WhereAny = {"times": None, **where}
    return edit_json(shifted, **chosen)


def _queries(where: Where, condition: Callable[[Subject], bool]) -> WhereAny:
    """Return `where` narrowed to the queries that meet a condition, for ever unless it says otherwise."""
    chosen = Fault(action=Wait(0), when="before", kind="query", match=where.get("match"))
    return {
        "kind": "query",
        "match": lambda subject: condition(subject) and chosen.concerns(subject),
        "nth": where.get("nth", 1),
        "times": where.get("times"),
        "probability": where.get("probability", 1.0),
    }
