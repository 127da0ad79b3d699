"""What the tests of uploads share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from toapis_async import Backoff, RateLimits, RetryPolicy, ToapisSession
from toapis_async.instrumentation import Observer
from toapis_async.testing import Simulator
from toapis_async.testing.pictures import draw

CAT: Final = draw("a cat", 0)
DOG: Final = draw("a dog", 0)
JPEG: Final = b"\xff\xd8\xff\xe0" + bytes(100)
WEBP: Final = b"RIFF\0\0\0\0WEBP" + bytes(100)
GIF: Final = b"GIF89a" + bytes(100)
FAST: Final = RateLimits(submit_per_second=5000, submit_burst=1000, query_per_second=5000, query_burst=1000)


def open_session(
    sim: Simulator, *, attempts: int = 5, observers: Sequence[Observer] = (), **options: Any
) -> ToapisSession:
    quick = Backoff(initial=0.01, maximum=0.05)
    retry = RetryPolicy(attempts=attempts, backoff=quick, lookup_window=0.5, **options)
    poll = Backoff(initial=0.02, maximum=0.1)
    return ToapisSession(sim.api_key, base_url=sim.base_url, limits=FAST, poll=poll, retry=retry, observers=observers)


def sent_images(sim: Simulator) -> list[list[str] | None]:
    """Return the reference pictures of every paid request, as they were sent."""
    bodies = [json.loads(record.body) for record in sim.requests if record.kind == "submit"]
    return [body.get("image_urls") for body in bodies]


def kinds(sim: Simulator) -> list[str]:
    return [record.kind for record in sim.requests]
