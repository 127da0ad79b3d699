"""Child processes that a test may interrupt, and that never outlive it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

LIFETIME: Final = 60.0
"""Seconds after which a child has hung and is killed."""


@contextmanager
def heeding_interrupts() -> Generator[None]:
    """Let Ctrl-C work in this process and in the children started here.

    A suite that runs under `nohup` or in the background of a shell ignores SIGINT, and its children would
    inherit that. A handler is not inherited: they start with the default action.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def running(command: Sequence[str], **options: Any) -> Generator[subprocess.Popen[bytes]]:
    """Start a process with pipes for its output; kill it at the end, or when it takes too long."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    given: dict[str, Any] = {**pipes, **options}
    with heeding_interrupts():
        child = subprocess.Popen[bytes](command, **given)
    watchdog = threading.Timer(LIFETIME, child.kill)
    watchdog.start()
    with child:
        try:
            yield child
        finally:
            watchdog.cancel()
            watchdog.join()
            child.kill()
