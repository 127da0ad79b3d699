"""A batch of this package."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from toapis_async import AdaptiveBackoff, Backoff, Completed, ImageRequest, RateLimits, ToapisSession

UNLIMITED: Final = RateLimits(
    submit_per_second=1e6, submit_burst=1_000_000, query_per_second=1e6, query_burst=1_000_000
)


async def poll_by_table(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    """Poll by the default schedule, the life table, so impatient that `interval` alone holds it back."""
    await _poll(origin, waves, AdaptiveBackoff(min_interval=interval, polls=1e6))


async def poll_by_backoff(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    """Poll by a plain backoff with equal waits."""
    await _poll(origin, waves, Backoff(initial=interval, factor=1, maximum=interval, jitter=0))


async def _poll(origin: str, waves: Sequence[Sequence[str]], poll: AdaptiveBackoff | Backoff) -> None:
    session = ToapisSession("sk-bench", base_url=origin, limits=UNLIMITED, poll=poll)
    async with session, session.open_batch() as batch:
        for wave in waves:
            for task_id in wave:
                batch.attach(task_id, key=task_id)
            keys: set[str] = set()
            async for outcome in batch:
                assert isinstance(outcome, Completed)
                assert outcome.key not in keys
                keys.add(outcome.key)
            assert keys == set(wave)


async def submit(origin: str, count: int) -> None:
    """Send requests; nothing is left to ask, each answer shows a completed task."""
    await _submit(origin, count, None)


async def submit_with_journal(origin: str, count: int) -> None:
    """Do the same, with each step noted on the disk before and after."""
    with tempfile.TemporaryDirectory() as folder:
        await _submit(origin, count, Path(folder, "journal.db"))


async def _submit(origin: str, count: int, journal: Path | None) -> None:
    requests = (ImageRequest(f"a fox, take {number}") for number in range(count))
    async with ToapisSession("sk-bench", base_url=origin, limits=UNLIMITED) as session:
        async with session.open_batch(requests, journal=journal) as batch:
            ended = 0
            async for outcome in batch:
                assert isinstance(outcome, Completed)
                ended += 1
        assert ended == count
