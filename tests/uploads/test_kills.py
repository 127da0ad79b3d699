"""A batch is killed around an upload, and run again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal.killing import Arena, Moment

from toapis_async._journal import read_rows
from toapis_async.testing import Simulator, faults

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")]


@pytest.fixture
def arena(tmp_path: Path, cat: Path) -> Iterator[Arena]:
    with Simulator(limits=None, durations=0.1) as simulator:
        yield Arena(simulator=simulator, folder=tmp_path, window=0.5, image=cat)


async def kill(arena: Arena, moment: Moment | None = None, *, at: str | None = None) -> list[str]:
    run = await arena.run(moment, at=at)
    assert run.killed, run.errors
    return [row.state for row in read_rows(arena.journal)]


async def go_on(arena: Arena, *, resubmit: bool = False) -> str:
    run = await arena.run(resubmit=resubmit)
    assert run.code == 0, run.errors
    (outcome,) = run.delivered
    return outcome.state


async def test_killed_between_the_upload_and_the_paid_request_it_does_not_upload_again(arena: Arena) -> None:
    assert await kill(arena, at="uploaded") == ["queued"]
    assert (len(arena.simulator.uploads), arena.simulator.charges) == (1, ())
    assert await go_on(arena) == "completed"
    assert (len(arena.simulator.uploads), len(arena.simulator.charges)) == (1, 1)


async def test_killed_during_the_upload_it_uploads_again_and_pays_once(arena: Arena) -> None:
    arena.simulator.add_fault(faults.hang(when="after", kind="upload"))
    assert await kill(arena, Moment("upload", 1)) in (["queued"], [])  # a row that costs nothing is not waited for
    assert await go_on(arena) == "completed"
    assert (len(arena.simulator.uploads), len(arena.simulator.charges)) == (2, 1)


async def test_killed_before_the_first_byte_of_the_paid_request_it_is_looked_up(arena: Arena) -> None:
    assert await kill(arena, at="posting") == ["posting"]
    assert await go_on(arena) == "unresolved"
    assert arena.simulator.charges == ()
    assert await go_on(arena, resubmit=True) == "completed"
    assert (len(arena.simulator.uploads), len(arena.simulator.charges)) == (1, 1)
