"""Measure one client: `python -m benchmarks.clients poll CLIENT ORIGIN WAVES TASKS INTERVAL`, or `submit CLIENT ...`.

What is measured is the user and system time of this process, from the first question to the last outcome, after
everything was imported and a session opened and closed once. Questions are counted by the server. Few tasks come in
many waves, one after the other in one session, so that there is enough to measure.
"""

from __future__ import annotations

import asyncio
import json
import pkgutil
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from benchmarks.processes import most_memory
from benchmarks.server import WARM_UP, take_counts

_POLLERS: Final = {
    "batch": "ours:poll_by_table",
    "batch, equal waits": "ours:poll_by_backoff",
    "by hand": "by_hand:poll",
    "tuned by hand": "tuned:poll",
}
_SUBMITTERS: Final = {
    "batch": "ours:submit",
    "batch with journal": "ours:submit_with_journal",
    "by hand": "by_hand:submit",
}


def _find(verb: str, client: str) -> Callable[..., Awaitable[None]]:
    place = (_POLLERS if verb == "poll" else _SUBMITTERS).get(client, f"peers:{verb}_{client.replace('-', '_')}")
    return cast(Callable[..., Awaitable[None]], pkgutil.resolve_name(f"benchmarks.clients.{place}"))


async def _poll(client: str, origin: str, waves: str, tasks: str, interval: str) -> dict[str, Any]:
    poll = _find("poll", client)
    await poll(origin, [[WARM_UP]], float(interval))
    ids = [[f"tsk_{wave}_{number}" for number in range(int(tasks))] for wave in range(int(waves))]
    return await _measured(origin, "polls", lambda: poll(origin, ids, float(interval)))


async def _submit(client: str, origin: str, tasks: str) -> dict[str, Any]:
    submit = _find("submit", client)
    await submit(origin, 1)
    return await _measured(origin, "submits", lambda: submit(origin, int(tasks)))


async def _measured(origin: str, what: str, run: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    take_counts(origin)
    before, started = time.process_time(), time.perf_counter()
    await run()
    cpu, seconds = time.process_time() - before, time.perf_counter() - started
    counts = take_counts(origin)
    return {
        "cpu": cpu / counts[what] * 1e6,
        "busy": cpu / seconds,
        "memory": most_memory(),
        **counts,
    }


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    print(json.dumps(asyncio.run(_poll(*arguments) if verb == "poll" else _submit(*arguments))))
