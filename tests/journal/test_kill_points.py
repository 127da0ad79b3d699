"""A batch is killed at each point at which something could be paid for twice or lost, and run again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from toapis_async import JournalError
from toapis_async._files.manifest import read_manifest
from toapis_async._journal import read_rows
from toapis_async.testing import Simulator, faults
from toapis_async.testing.pictures import draw

from .killing import Arena, Moment
from .victim import PICTURES

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")]

PROMPT = "picture 0"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # other processes and the journal's thread know no virtual clock


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    with Simulator(limits=None, durations=0.1) as simulator:
        yield Arena(simulator=simulator, folder=tmp_path, window=0.5)


async def kill(arena: Arena, moment: Moment | None = None, *, at: str | None = None) -> tuple[str, str | None, int]:
    """Run it until it is killed; return the state and the task id in the journal, and how often was paid."""
    run = await arena.run(moment, at=at)
    assert run.killed, run.errors
    (row,) = read_rows(arena.journal)
    assert {charge.client_business_id for charge in arena.simulator.charges} <= {row.client_business_id}
    return row.state, row.task_id, len(arena.simulator.charges)


async def go_on(arena: Arena, *, resubmit: bool = False) -> tuple[str, bool, int]:
    """Run it to its end; return the state of the outcome, whether it was replayed, and how often was paid."""
    run = await arena.run(resubmit=resubmit)
    assert run.code == 0, run.errors
    (outcome,) = run.delivered
    (row,) = read_rows(arena.journal)
    assert row.state == outcome.state
    assert row.client_business_id == outcome.client_business_id
    charges = arena.simulator.charges
    if charges:
        assert outcome.task_id == row.task_id == charges[0].task_id
    return outcome.state, outcome.replayed, len(charges)


def saved(arena: Arena) -> dict[str, bytes]:
    """Return the pictures that have their final names."""
    return {path.name: path.read_bytes() for path in (arena.folder / PICTURES).iterdir() if path.suffix == ".png"}


async def test_a_journal_that_was_being_made_is_made_anew(arena: Arena) -> None:
    run = await arena.run(at="making")
    assert run.killed, run.errors
    assert arena.journal.exists()
    with pytest.raises(JournalError):
        next(read_rows(arena.journal))
    assert await go_on(arena) == ("completed", False, 1)


async def test_a_row_that_was_queued_is_sent(arena: Arena) -> None:
    assert await kill(arena, at="queued") == ("queued", None, 0)
    assert await go_on(arena) == ("completed", False, 1)


async def test_a_row_that_was_posting_without_a_byte_sent_is_looked_up_and_never_sent(arena: Arena) -> None:
    assert await kill(arena, at="posting") == ("posting", None, 0)
    assert await go_on(arena) == ("unresolved", False, 0)
    assert {request.kind for request in arena.simulator.requests} == {"query"}
    assert await go_on(arena, resubmit=True) == ("completed", False, 1)


async def test_a_request_that_was_sent_and_not_answered_is_found(arena: Arena) -> None:
    arena.simulator.add_fault(faults.hang(when="after", kind="submit"))
    assert await kill(arena, Moment("submit", 1)) == ("posting", None, 1)
    assert await go_on(arena, resubmit=True) == ("completed", False, 1)


async def test_a_request_that_was_sent_and_not_accepted_is_sent_again_only_if_the_user_says_so(arena: Arena) -> None:
    arena.simulator.add_fault(faults.hang(when="before", kind="submit"))
    assert await kill(arena, Moment("submit", 1)) == ("posting", None, 0)
    assert await go_on(arena) == ("unresolved", False, 0)
    assert await go_on(arena, resubmit=True) == ("completed", False, 1)


async def test_an_answer_that_was_read_and_not_written_is_found(arena: Arena) -> None:
    assert await kill(arena, at="answered") == ("posting", None, 1)
    assert await go_on(arena) == ("completed", False, 1)


async def test_an_id_that_was_written_is_waited_for(arena: Arena) -> None:
    state, task_id, charges = await kill(arena, at="written")
    assert (state, task_id, charges) == ("submitted", arena.simulator.charges[0].task_id, 1)
    assert await go_on(arena) == ("completed", False, 1)
    queries = [request.path for request in arena.simulator.requests if request.kind == "query"]
    assert queries
    assert all(path.endswith(f"/{task_id}") for path in queries)


@pytest.mark.parametrize(("point", "told"), [("ended", 0), ("told", 1)])
async def test_an_end_that_was_seen_is_delivered_again(arena: Arena, point: str, told: int) -> None:
    state, task_id, charges = await kill(arena, at=point)
    assert len(arena.runs[0].delivered) == told
    assert state in {"submitted", "completed"}
    assert task_id is not None
    assert charges == 1
    replayed = state == "completed"
    assert await go_on(arena) == ("completed", replayed, 1)


async def test_a_download_that_was_cut_leaves_nothing_under_the_name_of_a_picture(arena: Arena) -> None:
    arena.simulator.add_fault(faults.dribble(64, float("inf"), kind="file"))
    await kill(arena, Moment("file", 1))
    assert saved(arena) == {}
    state, _, charges = await go_on(arena)
    assert (state, charges) == ("completed", 1)
    assert list(saved(arena).values()) == [draw(PROMPT, 0)]
    assert [record["state"] for record in read_manifest(arena.folder / PICTURES)] == ["completed"]
    assert not list((arena.folder / PICTURES).glob(".*"))


async def test_a_finished_batch_is_replayed_without_traffic(arena: Arena) -> None:
    assert await go_on(arena) == ("completed", False, 1)
    seen = len(arena.simulator.requests)
    assert await kill(arena, at="told") == ("completed", arena.simulator.charges[0].task_id, 1)
    assert await go_on(arena) == ("completed", True, 1)
    assert len(arena.simulator.requests) == seen
