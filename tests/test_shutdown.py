"""Leaving is quiet and complete, in whatever way a program ends."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from processes import running

from toapis_async import ToapisSession
from toapis_async.testing import Simulator

STRICT = [sys.executable, "-W", "error", "-X", "dev"]
HEAD = """
import asyncio, logging, sys
import anyio
from toapis_async import Backoff, ImageRequest, RateLimits, ToapisSession
logging.disable(logging.WARNING)
FAST = RateLimits(submit_per_second=500, submit_burst=50, query_per_second=500, query_burst=50)
QUICK = Backoff(initial=0.02, maximum=0.1)
FOXES = [ImageRequest(f"fox {number}") for number in range(20)]
def connect():
    return ToapisSession("sk-simulated", base_url=sys.argv[1], limits=FAST, poll=QUICK)
"""

PROGRAMS = {
    "three runs in one process": """
        async def main():
            async with connect() as session:
                async with session.open_batch(FOXES) as batch:
                    return len([outcome async for outcome in batch])
        for _ in range(3):
            assert asyncio.run(main()) == 20
    """,
    "break": """
        async def main():
            async with connect() as session, session.open_batch(FOXES) as batch:
                async for _ in batch:
                    break
        asyncio.run(main())
    """,
    "an exception in the body": """
        async def main():
            async with connect() as session, session.open_batch(FOXES) as batch:
                async for _ in batch:
                    raise KeyError("mine")
        try:
            asyncio.run(main())
        except KeyError:
            pass
    """,
    "a timeout": """
        async def main():
            async with connect() as session:
                try:
                    async with asyncio.timeout(0.1):
                        await session.generate_many(FOXES)
                except TimeoutError:
                    pass
                try:
                    await asyncio.wait_for(session.generate(FOXES[0]), 0.05)
                except TimeoutError:
                    pass
        asyncio.run(main())
    """,
    "consumers that are still waiting": """
        async def main():
            async with connect() as session:
                async with session.open_batch() as batch:
                    with batch.hold():
                        tasks = [asyncio.create_task(anext(batch)) for _ in range(3)]
                        job = batch.submit(FOXES[0])
                        tasks.append(asyncio.create_task(job.wait()))
                        await asyncio.sleep(0)
                await asyncio.wait(tasks)
                for task in tasks:
                    task.exception()
        asyncio.run(main())
    """,
    "a failing source and a failing observer": """
        def source():
            yield FOXES[0]
            raise OSError("gone")
        async def main():
            def observer(event):
                raise RuntimeError("observer")
            logging.disable(logging.CRITICAL)
            session = ToapisSession("sk-simulated", base_url=sys.argv[1], limits=FAST, poll=QUICK, observers=[observer])
            async with session, session.open_batch(source()) as batch:
                async for _ in batch:
                    pass
        try:
            asyncio.run(main())
        except OSError:
            pass
    """,
    "a watch that is dropped": """
        async def main():
            async with connect() as session:
                task = await session.submit(FOXES[0])
                async for _ in session.watch(task.id):
                    break
        asyncio.run(main())
    """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_without_a_word(name: str) -> None:
    code = HEAD + textwrap.dedent(PROGRAMS[name])
    with Simulator(limits=None, durations=0.2) as sim:
        done = subprocess.run(
            [*STRICT, "-c", code, sim.base_url], capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_loop_that_ends_while_a_batch_is_being_entered_ends() -> None:
    code = HEAD + textwrap.dedent("""
        async def main(steps):
            async with connect() as session:
                task = asyncio.ensure_future(session.generate_many(FOXES))
                for _ in range(steps):
                    await asyncio.sleep(0)
                raise KeyError
        for steps in range(8):
            try:
                asyncio.run(main(steps))
            except KeyError:
                print(steps)
    """)
    with Simulator(limits=None, durations=0.2) as sim:
        # Not strict: anyio never awaits the coroutine of a child that is cancelled before its first step.
        done = subprocess.run(
            [sys.executable, "-c", code, sim.base_url], capture_output=True, text=True, timeout=60, check=True
        )
    assert done.stdout.split() == [str(steps) for steps in range(8)]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are a POSIX matter")
def test_ctrl_c_leaves_every_paid_task_named(tmp_path: Path) -> None:
    code = HEAD + textwrap.dedent("""
        async def main():
            session = connect()
            batch = None
            try:
                async with session:
                    single = asyncio.create_task(session.generate(FOXES[0]))
                    single.add_done_callback(lambda task: task.cancelled() or task.exception())
                    async with session.open_batch(FOXES) as batch:
                        print("open", flush=True)
                        async for _ in batch:
                            raise AssertionError("nothing ends")
            finally:
                left = [job.task_id or job.client_business_id for job in batch.unfinished if job.state != "queued"]
                print(*left, *(task.resume_id for task in session.unfinished), sep="\\n", flush=True)
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
    """)
    with Simulator(limits=None, durations=10_000.0) as sim:
        command = [*STRICT, "-c", code, sim.base_url]
        with running(command) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"open\n"
            asyncio.run(asyncio.wait_for(sim.wait_for_requests("submit", 15), 30))
            process.send_signal(signal.SIGINT)
            out, err = (written.decode() for written in process.communicate(timeout=60))
        named = set(out.split())
        for charge in sim.charges:
            assert {charge.task_id, charge.client_business_id} & named, out + err
    assert "interrupted" in named
    assert err == ""


@pytest.mark.anyio
async def test_a_session_that_is_never_closed_says_where_it_was_opened(sim: Simulator) -> None:
    session = await ToapisSession(sim.api_key, base_url=sim.base_url).__aenter__()
    parts = session._parts  # pyright: ignore[reportPrivateUsage]
    assert parts is not None
    await parts.transport.close()  # aiohttp's own warning about its session is not what is tested here
    with pytest.warns(ResourceWarning, match=r"opened at .*test_shutdown\.py:\d+, was never closed"):  # noqa: PT031
        del session
        gc.collect()
