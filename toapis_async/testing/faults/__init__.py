"""Named faults: what is known to go wrong between a client and the service, ready to give to a `Simulator`.

Every constructor returns a `Fault`. Besides its own arguments it takes those that choose the requests:
`match`, `nth`, `times`, `probability` and, where the fault itself does not fix it, `kind` ("submit", "query",
"file", "upload"; default: any); see `Fault`. Seconds are those of the client's clock, whatever the time factor. ::

    lost = faults.drop(when="after", kind="submit")
    slow = faults.gateway_page(504, when="before", kind="query", times=3)
    async with Simulator(faults=[lost, slow]) as simulator: ...
"""

from ._replies import (
    close_after,
    content_type,
    cut,
    dribble,
    edit_json,
    glue,
    gzip,
    oversize,
    respell,
    transform,
    truncate,
)
from ._requests import (
    delay,
    drop,
    error,
    gateway_page,
    hang,
    limiter_down,
    panic,
    redirect,
    reply_with,
    throttle,
)
from ._tasks import clock_skew, fails, invisible, lasts, never_finishes, unknown_ids_panic, urls_missing

__all__ = [
    "clock_skew",
    "close_after",
    "content_type",
    "cut",
    "delay",
    "dribble",
    "drop",
    "edit_json",
    "error",
    "fails",
    "gateway_page",
    "glue",
    "gzip",
    "hang",
    "invisible",
    "lasts",
    "limiter_down",
    "never_finishes",
    "oversize",
    "panic",
    "redirect",
    "reply_with",
    "respell",
    "throttle",
    "transform",
    "truncate",
    "unknown_ids_panic",
    "urls_missing",
]
