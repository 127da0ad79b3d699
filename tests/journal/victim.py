"""A batch with a journal as a program of its own, made to be killed: `victim.py BASE_URL FOLDER [options]`.

It runs the same requests every time, prints a JSON line for each outcome, and saves every picture. With
`--at` it kills itself at a point that nobody could hit from outside.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

import anyio

from toapis_async import Backoff, ImageRequest, Outcome, RateLimits, RetryPolicy, ToapisSession
from toapis_async._journal import Entry, read_summary, store
from toapis_async.testing.server import DEFAULT_KEY
from toapis_async.testing.submissions import FAIL_MARKER

JOURNAL: Final = "jobs.db"
PICTURES: Final = "pictures"
POINTS: Final = ("making", "queued", "uploaded", "posting", "answered", "written", "ended", "told")
UNLIMITED: Final = RateLimits(submit_per_second=1e4, submit_burst=1000, query_per_second=1e4, query_burst=1000)

Write: TypeAlias = Callable[..., Awaitable[None]]


def prompts(count: int) -> list[str]:
    """Return what is asked for. Every twentieth task fails at the service."""
    return [f"picture {number}" + (f" {FAIL_MARKER}" if number % 20 == 19 else "") for number in range(count)]


async def run(options: argparse.Namespace) -> None:
    folder: Path = options.folder
    retry = RetryPolicy(attempts=10, lookup_window=options.window, resubmit_unknown=options.resubmit)
    poll = Backoff(initial=0.05, factor=1.3, maximum=0.3)
    images = [options.image] if options.image else []
    requests = [ImageRequest(prompt=prompt, images=images) for prompt in prompts(options.requests)]
    async with (
        ToapisSession(DEFAULT_KEY, base_url=options.base_url, limits=UNLIMITED, poll=poll, retry=retry) as session,
        session.open_batch(requests, journal=folder / JOURNAL, save_to=folder / PICTURES, max_in_flight=64) as batch,
    ):
        async for outcome in batch:
            if options.at == "ended":
                die()
            tell(outcome)
            if options.at == "told":
                die()


def tell(outcome: Outcome) -> None:
    assert outcome.request is not None
    line = {
        "key": outcome.key,
        "prompt": outcome.request.prompt,
        "state": outcome.state,
        "replayed": outcome.replayed,
        "task_id": outcome.task_id,
        "client_business_id": outcome.client_business_id,
    }
    print(json.dumps(line), flush=True)  # noqa: T201 - read by the process that kills this one


def die(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("alive")


def set_trap(point: str | None, journal: Path) -> None:
    """Make it die where the journal is written."""

    async def when_queued(*_: object) -> None:
        while not (journal.exists() and read_summary(journal).counts):
            await anyio.sleep(0.01)
        die()

    async def when_uploaded(*_: object) -> None:
        while True:
            with closing(sqlite3.connect(journal)) as db:
                if db.execute("SELECT count(*) FROM uploads JOIN jobs").fetchone()[0]:
                    die()
            await anyio.sleep(0.01)

    def after(write: Write) -> Write:
        async def traced(*values: Any) -> None:
            await write(*values)
            die()

        return traced

    traps: dict[str, tuple[object, str, Callable[..., object]]] = {
        "making": (store, "_create", die),
        "queued": (Entry, "posting", when_queued),
        "uploaded": (Entry, "posting", when_uploaded),
        "posting": (Entry, "posting", after(Entry.posting)),
        "answered": (Entry, "accepted", die),
        "written": (Entry, "accepted", after(Entry.accepted)),
    }
    if point in traps:
        setattr(*traps[point])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=1)
    parser.add_argument("--window", type=float, default=2.0, help="seconds for which a lost answer is looked up")
    parser.add_argument("--resubmit", action="store_true", help="send again what was not found")
    parser.add_argument("--image", type=Path, help="a reference picture of all requests")
    parser.add_argument("--at", choices=POINTS, help="where it kills itself")
    options = parser.parse_args()
    set_trap(options.at, options.folder / JOURNAL)
    anyio.run(run, options)


if __name__ == "__main__":
    main()
