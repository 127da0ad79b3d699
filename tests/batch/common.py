"""What the tests of batches share."""

from __future__ import annotations

from toapis_async import (
    Batch,
    ImageRequest,
)
from toapis_async.testing import Simulator


def foxes(count: int) -> list[ImageRequest]:
    return [ImageRequest(f"fox {number}") for number in range(count)]


async def drain(batch: Batch) -> list[str]:
    return [outcome.key async for outcome in batch]


def accepted(sim: Simulator) -> set[str]:
    return {charge.task_id for charge in sim.charges}
