"""Running a batch as a child process, and killing it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, Literal, TypeAlias

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import field, frozen

from toapis_async.testing import Kind, Simulator

from .victim import JOURNAL

LIFETIME: Final = 60.0
"""Seconds after which a run has hung."""
_VICTIM: Final = Path(__file__).with_name("victim.py")
_LONGEST_LINE: Final = 10_000

What: TypeAlias = Kind | Literal["outcome", "time"]


@frozen(kw_only=True)
class Delivered:
    """What the child said of one outcome."""

    key: str
    prompt: str
    state: str
    replayed: bool
    task_id: str | None
    client_business_id: str | None


@frozen
class Moment:
    """When to kill: after so many more requests of a kind, outcomes, or hundredths of a second."""

    what: What
    count: int


@frozen
class Run:
    """How one run went."""

    code: int
    delivered: tuple[Delivered, ...]
    errors: str
    """What it wrote to its standard error."""

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


@frozen(kw_only=True)
class Arena:
    """A service that survives, and a folder in which one run after another goes on."""

    simulator: Simulator
    folder: Path
    requests: int = 1
    window: float = 2.0
    image: Path | None = None
    runs: list[Run] = field(init=False, factory=list[Run])

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL

    async def run(self, moment: Moment | None = None, *, at: str | None = None, resubmit: bool = False) -> Run:
        """Run the batch until it ends or is killed, from here at a moment or by itself at a point."""
        options = ["--requests", str(self.requests), "--window", str(self.window)]
        options += ["--image", str(self.image)] if self.image else []
        options += ["--resubmit"] * resubmit + (["--at", at] if at else [])
        # Not beside its own folder, whose modules must not hide those of the standard library.
        command = [sys.executable, "-P", "-W", "error", str(_VICTIM), self.simulator.base_url, str(self.folder)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        log = self.folder / f"run-{len(self.runs)}.log"
        lines: list[bytes] = []
        with anyio.fail_after(LIFETIME), log.open("wb") as errors:
            child = await anyio.open_process(
                [*command, *options], env=environment, stdin=subprocess.DEVNULL, stderr=errors
            )
            async with child, anyio.create_task_group() as group:
                group.start_soon(self._kill_at, child, moment)
                await _read_lines(child, lines, kill_after=moment)
                await child.wait()
                group.cancel_scope.cancel()
        code = child.returncode
        assert code is not None
        run = Run(code, tuple(Delivered(**json.loads(line)) for line in lines), log.read_text())
        self.runs.append(run)
        return run

    async def _kill_at(self, child: Process, moment: Moment | None) -> None:
        if moment is None or moment.what == "outcome":
            return
        if moment.what == "time":
            await anyio.sleep(moment.count / 100)
        else:
            seen = sum(record.kind == moment.what for record in self.simulator.requests)
            await self.simulator.wait_for_requests(moment.what, seen + moment.count)
        child.kill()


async def _read_lines(child: Process, lines: list[bytes], *, kill_after: Moment | None) -> None:
    """Read to the end; a line that was cut in the middle does not count."""
    assert child.stdout is not None
    output = BufferedByteReceiveStream(child.stdout)
    limit = kill_after.count if kill_after and kill_after.what == "outcome" else None
    try:
        while True:
            lines.append(await output.receive_until(b"\n", _LONGEST_LINE))
            if len(lines) == limit:
                child.kill()
    except (anyio.EndOfStream, anyio.IncompleteRead):
        return
