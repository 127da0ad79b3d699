"""One writer at a time, whatever becomes of the writer."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from subprocess import PIPE

import anyio
import anyio.lowlevel
import pytest
from journal.common import FOX
from journal.conftest import open_session
from processes import running

from toapis_async import Completed, JournalError, ToapisSession
from toapis_async._journal import read_summary
from toapis_async.testing import Simulator

pytestmark = pytest.mark.anyio


async def test_a_second_batch_is_told_who_uses_it(session: ToapisSession, sim: Simulator, path: Path) -> None:
    async with session.open_batch([FOX], journal=path) as batch, open_session(sim) as another:
        for other in (session, another):
            with pytest.raises(JournalError, match=rf"in use by process {os.getpid()} \(this process\) since 20"):
                async with other.open_batch([FOX], journal=path):
                    pass
        assert isinstance(await anext(batch), Completed)
    assert isinstance((await session.generate_many([FOX], journal=path))[0], Completed)
    assert len(sim.charges) == 1


async def test_another_name_of_the_file_is_the_same_journal(session: ToapisSession, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "link.db").symlink_to(path)
    async with session.open_batch(journal=path):
        with pytest.raises(JournalError, match="in use by process"):
            async with session.open_batch(journal=other / "link.db"):
                pass


HOLDER = """
import asyncio, sys
from toapis_async import ImageRequest, ToapisSession
async def main():
    async with ToapisSession("sk-x", base_url=sys.argv[1]) as session, session.open_batch(journal=sys.argv[2]) as batch:
        sys.stdout.write("open")
        sys.stdout.flush()
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_lock_of_a_killed_process_does_not_block(session: ToapisSession, sim: Simulator, path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, sim.base_url, str(path)]
    with anyio.fail_after(60):
        async with await anyio.open_process(command, stdout=PIPE, stderr=None) as holder:
            assert holder.stdout is not None
            assert await holder.stdout.receive() == b"open"
            with pytest.raises(JournalError, match=f"in use by process {holder.pid} since"):
                await session.generate_many([FOX], journal=path)
            assert read_summary(path).counts == {}  # readers need no lock
            holder.kill()
    assert isinstance((await session.generate_many([FOX], journal=path))[0], Completed)


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("how", ["native", "scope"])
async def test_cancelling_while_it_opens_leaves_no_lock(
    session: ToapisSession, path: Path, steps: int, how: str
) -> None:
    async def use() -> None:
        with scope:
            async with session.open_batch(journal=path):
                await anyio.sleep_forever()

    scope = anyio.CancelScope()
    task = asyncio.create_task(use())
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    if how == "scope":
        scope.cancel()
    else:
        task.cancel()
    await asyncio.wait([task])
    async with session.open_batch(journal=path):
        pass


def test_a_program_that_ends_inside_a_batch_lets_the_journal_go(path: Path) -> None:
    async def main() -> None:
        async def stay() -> None:
            session = ToapisSession("sk-x", base_url="http://127.0.0.1:9")
            async with session, session.open_batch(journal=path):
                entered.set()
                await anyio.sleep_forever()

        entered = asyncio.Event()
        tasks.append(asyncio.create_task(stay()))
        await entered.wait()

    tasks: list[asyncio.Task[None]] = []
    for _ in range(3):
        asyncio.run(main())
    assert all(task.cancelled() for task in tasks)
    assert not any(thread.name == "journal fox.db" for thread in threading.enumerate())


FORKER = """
import asyncio, os, signal, sys
from toapis_async import ToapisSession
async def main():
    async with ToapisSession("sk-x", base_url="http://127.0.0.1:9") as session:
        async with session.open_batch(journal=sys.argv[1]):
            child = os.fork()
            if not child:
                signal.pause()
        try:
            async with session.open_batch(journal=sys.argv[1]):
                print("again", flush=True)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_does_not_keep_the_lock(path: Path) -> None:
    with running([sys.executable, "-c", FORKER, str(path)]) as program:
        out, err = program.communicate()
    assert (out, program.returncode) == (b"again\n", 0), err.decode()
