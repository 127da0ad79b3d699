"""What an import loads, what waits until a session opens, and what the event loop does meanwhile."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap

import pytest

import toapis_async
from toapis_async import ToapisSession, _opening
from toapis_async._parts import Parts

HEAVY = {"aiohttp", "yarl", "cattrs", "sqlite3", "rich", "importlib.metadata", "toapis_async._parts"}


def fresh(code: str) -> object:
    """Run code in a new process and return the JSON it prints on the last line.

    `loaded()` gives the modules that were loaded since: the measuring of coverage has some of its own.
    """
    preamble = "import json, sys\nbefore = set(sys.modules)\nloaded = lambda: set(sys.modules) - before\n"
    command = [sys.executable, "-W", "error", "-c", preamble + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert not done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def told(code: str) -> str:
    """Do the same after `OPEN`, for code that prints a text."""
    text = fresh(textwrap.dedent(OPEN) + textwrap.dedent(code))
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("toapis_async", {*HEAVY, "asyncio", "anyio", "logging"}),
        ("toapis_async.testing", HEAVY),
        ("toapis_async.testing.pytest_plugin", HEAVY - {"rich", "importlib.metadata"}),  # pytest's own
    ],
)
def test_importing_does_not_load_what_only_an_open_session_needs(module: str, heavy: set[str]) -> None:
    assert fresh(f"import {module}; print(json.dumps(sorted({heavy} & loaded())))") == []


def test_the_help_of_the_command_line_loads_no_command() -> None:
    unneeded = {"aiohttp", "cattrs", "sqlite3", "asyncio", "toapis_async._parts", "toapis_async.testing"}
    code = f"""
        from toapis_async.cli import main
        try:
            main(["--help"])
        except SystemExit as exit:
            assert exit.code == 0
        print(json.dumps(sorted({unneeded} & loaded())))
    """
    assert fresh(code) == []


def test_every_public_name_can_be_had_and_is_listed() -> None:
    code = """
        import json
        import toapis_async
        listed = set(dir(toapis_async))
        missing = [name for name in toapis_async.__all__ if name not in listed or not hasattr(toapis_async, name)]
        from toapis_async import Batch, TaskSnapshots
        assert Batch.__name__ == "Batch"
        print(json.dumps(missing))
    """
    assert fresh(code) == []
    misspelled = "Bach"
    with pytest.raises(AttributeError, match="'toapis_async' has no attribute 'Bach'"):
        getattr(toapis_async, misspelled)


OPEN = """
    import asyncio, json, sys
    from toapis_async import ToapisSession

    def session():
        return ToapisSession("sk-test", base_url="http://127.0.0.1:9")

"""


def test_the_loop_goes_on_while_the_first_session_opens() -> None:
    code = """
        async def main():
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    await asyncio.sleep(0)
                    ticks += "toapis_async._parts" in sys.modules

            ticking = asyncio.create_task(tick())
            async with session(), session():
                seen = ticks
            ticking.cancel()
            return seen

        print(json.dumps(asyncio.run(main())))
    """
    ticks = fresh(textwrap.dedent(OPEN) + textwrap.dedent(code))
    assert isinstance(ticks, int)
    assert ticks > 0


def test_the_loop_goes_on_while_a_second_session_waits_for_the_imports_of_the_first() -> None:
    code = """
        async def main():
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    await asyncio.sleep(0)
                    ticks += 1

            name = "toapis_async._parts"
            ticking = asyncio.create_task(tick())
            first = asyncio.create_task(session().__aenter__())
            while name not in sys.modules:
                await asyncio.sleep(0)
            before, is_complete = ticks, hasattr(sys.modules[name], "Parts")
            async with session():
                seen = ticks - before
            ticking.cancel()
            await (await first).__aexit__(None, None, None)
            return is_complete or seen > 0

        print(json.dumps(asyncio.run(main())))
    """
    assert fresh(textwrap.dedent(OPEN) + textwrap.dedent(code)) is True


def test_sessions_that_open_at_once_all_open() -> None:
    code = """
        async def use():
            async with session() as opened:
                return opened.unfinished

        async def main():
            return await asyncio.gather(*(use() for _ in range(5)))

        print(json.dumps(asyncio.run(main())))
    """
    assert fresh(textwrap.dedent(OPEN) + textwrap.dedent(code)) == [[]] * 5


@pytest.mark.parametrize("way", ["task.cancel()", "scope.cancel()"])
def test_cancelling_an_opening_leaves_nothing_and_the_session_can_be_opened_later(way: str) -> None:
    code = f"""
        import gc, anyio

        async def main():
            later = session()
            with anyio.CancelScope() as scope:
                task = asyncio.current_task()
                asyncio.get_running_loop().call_soon(lambda: {way})
                try:
                    async with later:
                        raise AssertionError("opened")
                except asyncio.CancelledError:
                    if {way.startswith("scope")}:
                        raise
                    task.uncancel()
            gc.collect()
            try:
                later.open_batch()
            except RuntimeError as error:
                text = str(error)
            async with later:
                later.open_batch()
            return text

        print(json.dumps(asyncio.run(main())))
    """
    text = told(code)
    assert "is not open" in text


def test_a_package_that_cannot_be_imported_is_named_and_opens_once_it_can() -> None:
    code = """
        async def main():
            sys.modules["aiohttp"] = None
            later = session()
            try:
                await later.__aenter__()
            except ImportError as error:
                text = str(error)
            del sys.modules["aiohttp"]
            async with later:
                return text

        print(json.dumps(asyncio.run(main())))
    """
    text = told(code)
    assert "aiohttp" in text


def test_the_first_session_opens_under_a_virtual_clock_before_any_timeout() -> None:
    code = """
        import anyio
        from toapis_async.testing import VirtualClockEventLoop

        async def main():
            assert "toapis_async._parts" not in sys.modules
            with anyio.fail_after(0.001):
                async with session():
                    return "open"

        with asyncio.Runner(loop_factory=VirtualClockEventLoop) as runner:
            print(json.dumps(runner.run(main())))
    """
    assert fresh(textwrap.dedent(OPEN) + textwrap.dedent(code)) == "open"


def test_a_session_opens_in_a_loop_of_another_thread() -> None:
    code = """
        import threading

        async def main():
            async with session():
                opened.append("open")

        opened = []
        thread = threading.Thread(target=asyncio.run, args=(main(),))
        thread.start()
        thread.join(30)
        print(json.dumps(opened))
    """
    assert fresh(textwrap.dedent(OPEN) + textwrap.dedent(code)) == ["open"]


async def open_twice(session: ToapisSession) -> tuple[ToapisSession | BaseException, ToapisSession | BaseException]:
    found = await asyncio.gather(session.__aenter__(), session.__aenter__(), return_exceptions=True)
    await session.__aexit__(None, None, None)
    return found


def test_of_two_tasks_that_enter_one_session_at_once_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slowly() -> type[Parts]:
        await asyncio.sleep(0)
        return Parts

    monkeypatch.setattr("toapis_async._session.load_parts", slowly)
    session = ToapisSession("sk-test", base_url="http://127.0.0.1:9")
    first, second = asyncio.run(open_twice(session))
    assert first is session
    assert isinstance(second, RuntimeError)


def test_what_is_imported_already_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> type[Parts]:
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", None)
        return await _opening.load_parts()

    assert asyncio.run(main()) is Parts
