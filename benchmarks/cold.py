"""Open the first session of a process: `python -m benchmarks.cold ORIGIN`. Imports nothing that others may share.

Prints the longest time for which the event loop was held up, and how long it took, for opening a session and for the
first question.
"""

import asyncio
import json
import sys
import time

from toapis_async import ToapisSession

BEAT = 0.001  # seconds


async def beat(stalls: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(BEAT)
        stalls.append(time.perf_counter() - before - BEAT)


async def main(origin: str) -> dict[str, float]:
    stalls: list[float] = []
    heart = asyncio.create_task(beat(stalls))
    await asyncio.sleep(0.05)
    stalls.clear()
    started = time.perf_counter()
    async with ToapisSession("sk-bench", base_url=origin) as session:
        await asyncio.sleep(2 * BEAT)  # a stall shows when it is over
        found = {"opening": time.perf_counter() - started, "stall": max(stalls)}
        stalls.clear()
        started = time.perf_counter()
        await session.get("tsk_1")
        await asyncio.sleep(2 * BEAT)
        found |= {"first": time.perf_counter() - started, "first stall": max(stalls)}
    heart.cancel()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1]))))
