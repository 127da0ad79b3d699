"""The command in this process, or as a child process, against a simulator that serves from a thread."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import anyio
import pytest
from attrs import frozen
from processes import heeding_interrupts, running

from toapis_async import Backoff, RateLimits, ToapisSession
from toapis_async.cli import main
from toapis_async.testing import Simulator

from .browser import Page, browsing

PATIENCE = 15.0
"""Seconds after which a command has hung."""


@frozen
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str


def pictures(folder: str = "out") -> list[Path]:
    """Return what lies in a folder beside a journal and a manifest."""
    others = ("toapis-journal.db", "manifest.jsonl")
    return sorted(path for path in Path(folder).iterdir() if not path.name.startswith(others))


class Toapis(Protocol):
    def __call__(self, *arguments: object) -> Ended: ...


class Serve(Protocol):
    def __call__(self, **options: Any) -> Simulator: ...


class Spawn(Protocol):
    def __call__(self, *arguments: object, **options: Any) -> subprocess.Popen[bytes]: ...


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has a folder of its own, and neither key nor URL."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOAPIS_API_KEY", raising=False)
    monkeypatch.delenv("TOAPIS_BASE_URL", raising=False)


@pytest.fixture
def toapis(capsys: pytest.CaptureFixture[str]) -> Toapis:
    """Run the command in this process."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        alarm = threading.Timer(PATIENCE, os.kill, (os.getpid(), signal.SIGINT))  # ends it with 130
        alarm.start()
        try:
            with heeding_interrupts(), pytest.raises(SystemExit) as leaving:
                main([str(argument) for argument in arguments])
        finally:
            alarm.cancel()
            alarm.join()
        assert isinstance(leaving.value.code, int)
        out, err = capsys.readouterr()
        return Ended(int(leaving.value.code), out, err)

    return run


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a simulator that the command finds by its environment."""
    with ExitStack() as stack:

        def start(**options: Any) -> Simulator:
            given: dict[str, Any] = {"limits": None, "durations": 0.0, **options}
            simulator = stack.enter_context(Simulator(**given))
            monkeypatch.setenv("TOAPIS_BASE_URL", simulator.base_url)
            monkeypatch.setenv("TOAPIS_API_KEY", simulator.api_key)
            return simulator

        yield start


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the commands of this process poll at once and as often as they like."""

    def set_up(**schedule: Any) -> None:
        given: dict[str, Any] = {"initial": 0.02, "maximum": 0.05, **schedule}
        limits = RateLimits(submit_per_second=1000, submit_burst=100, query_per_second=1000, query_burst=100)
        session = functools.partial(ToapisSession, poll=Backoff(**given), limits=limits)
        monkeypatch.setattr("toapis_async.cli.service.ToapisSession", session)

    set_up()
    return set_up


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start the command as a process of its own, where every warning is an error."""
    with ExitStack() as stack:

        def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-W", "error", "-m", "toapis_async.cli", *map(str, arguments)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            return stack.enter_context(running(command, env=environment, **options))

        yield start


@pytest.fixture
async def page(anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    """A tab in a browser with a new profile."""
    with anyio.fail_after(45):
        async with browsing(tmp_path_factory.mktemp("profile")) as opened:
            await opened.prefer("light")
            yield opened
