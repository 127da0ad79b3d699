"""Requests of one kind go out in the order in which they came."""

from __future__ import annotations

import asyncio

import pytest

from toapis_async._http.dispatch import Gate
from toapis_async._schedule.pacer import Pacer

pytestmark = pytest.mark.anyio


async def test_nobody_takes_the_slot_of_one_who_waits_for_it() -> None:
    loop = asyncio.get_running_loop()
    gate = Gate("query", Pacer(1, 1), loop.time)
    order: list[str] = []

    async def pass_by(name: str, *, at: float) -> None:
        await asyncio.sleep(at)
        await gate.enter()
        order.append(name)

    # The late one wakes up when the slot is free, and sooner than the one who waits: its timer is older.
    await asyncio.gather(pass_by("late", at=1), pass_by("first", at=0), pass_by("waiting", at=0))
    assert order == ["first", "waiting", "late"]
    assert loop.time() == pytest.approx(2)
