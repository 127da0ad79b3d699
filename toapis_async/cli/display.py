"""Standard error: plain lines for logs and pipes, a live progress line on a terminal.

Texts from outside are cleaned before they come here; none is read as markup.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO, TypeAlias

from attrs import frozen

from .text import PROMPT_WIDTH, duration

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_RECENT: Final = 60  # ends, over which the rate is measured
_OTHER_PARTS: Final = 64  # characters of a line: the counts and the path of a picture
_NARROWEST: Final = 16
_BAR: Final = 10
_UNKNOWN: Final = "\u2013"
_FEWEST: Final = 2  # ends, before there is a rate


@frozen(kw_only=True)
class Counts:
    """How far a run is."""

    total: int
    submitted: int
    running: int
    done: int
    failed: int
    open: int
    """Timed out or unresolved."""

    @property
    def ended(self) -> int:
        """Items that need no more work."""
        return self.done + self.failed + self.open


Source: TypeAlias = Callable[[], Counts]


class Pace:
    """Guesses the time left from the rate at which the last items ended."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=_RECENT)

    def tick(self, now: float) -> None:
        """Note that an item ended."""
        self._ends.append(now)

    def left(self, items: int, now: float) -> float | None:
        """Return the seconds until `items` more have ended; None if there is no telling."""
        if len(self._ends) < _FEWEST or now <= self._ends[0]:
            return None
        return items * (now - self._ends[0]) / (len(self._ends) - 1)


class Screen:
    """Plain lines. What cannot be written is dropped: a closed standard error must not end a run."""

    is_live = False
    """Whether it draws progress on a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        stream: TextIO | None = sys.stderr
        self._lost = stream is None  # in a process that was started with it closed

    @property
    def prompt_width(self) -> int:
        """How many characters of a prompt a line should hold."""
        return PROMPT_WIDTH

    def say(self, text: str, *, mark: str = "", style: str = "") -> None:
        """Write a line about the course of things, unless quiet; `mark` is a first word in a colour."""
        if not self._quiet:
            self.report(text, mark=mark, style=style)

    def report(self, text: str, *, mark: str = "", style: str = "") -> None:
        """Write a line the user must see."""
        if self._lost:
            return
        try:
            self._write(text, mark, style)
        except OSError:
            self._lost = True
            drop(sys.stderr)

    def start(self, source: Source) -> None:
        """Begin to show progress."""

    def tick(self) -> None:
        """Note that an item ended."""

    def refresh(self) -> None:
        """Show the progress of now."""

    def stop(self) -> None:
        """End the progress display."""

    def hide(self) -> None:
        """Take the progress away until the next `refresh`: another line comes to the terminal by another way."""

    def _write(self, text: str, mark: str, style: str) -> None:
        sys.stderr.write(f"{mark} {text}\n" if mark else f"{text}\n")
        sys.stderr.flush()


class LiveScreen(Screen):
    """Lines above one line of progress that is drawn anew in place."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self.is_live = not quiet
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

        class TerminalConsole(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError  # rich would end the process

        self._console = TerminalConsole(stderr=True, highlight=False, emoji=False, markup=False)
        self._live: Live | None = None
        self._source: Source | None = None
        self._pace = Pace()
        self._began = time.monotonic()

    @property
    def prompt_width(self) -> int:
        """What is left of a line by its other parts, more or less."""
        return max(_NARROWEST, min(PROMPT_WIDTH, self._console.width - _OTHER_PARTS))

    def start(self, source: Source) -> None:
        """Begin to show progress."""
        from rich.live import Live  # noqa: PLC0415

        if self._quiet:
            return
        self._source = source
        self._live = Live(
            console=self._console,
            get_renderable=self._progress,
            auto_refresh=False,  # a thread of rich's would read the batch's books while they are written
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._guarded(lambda live: live.start(refresh=True))

    def tick(self) -> None:
        """Note that an item ended."""
        self._pace.tick(time.monotonic())

    def refresh(self) -> None:
        """Show the progress of now."""
        self._guarded(lambda live: live.refresh() if live.is_started else live.start(refresh=True))

    def stop(self) -> None:
        """End the progress display."""
        self._guarded(lambda live: live.stop())
        self._live = None

    def hide(self) -> None:
        """Take the progress away until the next `refresh`."""
        self._guarded(lambda live: live.stop())

    def _guarded(self, do: Callable[[Live], None]) -> None:
        if self._live is None or self._lost:
            return
        try:
            do(self._live)
        except OSError:
            self._lost = True
            drop(sys.stderr)

    def _write(self, text: str, mark: str, style: str) -> None:
        from rich.text import Text  # noqa: PLC0415

        line = Text.assemble((mark, style), " ", text) if mark else Text(text)
        self._console.print(line, soft_wrap=True)

    def _progress(self) -> Table:
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        assert self._source is not None
        counts = self._source()
        now = time.monotonic()
        left = self._pace.left(counts.total - counts.ended, now)
        times = f"{duration(now - self._began)}, ETA {_UNKNOWN if left is None else duration(left)}"
        words = [f"{counts.running} running", f"{counts.done} done", f"{counts.failed} failed"]
        words += [f"{counts.open} unfinished"] if counts.open else []
        ended, submitted = f"{counts.ended}/{counts.total}", f"{counts.submitted} submitted"
        room = self._console.width
        if len(line := "  ".join([ended, " ".join([submitted, *words]), times])) > room:
            line = "  ".join([ended, " ".join(words), times])
        grid = Table.grid(padding=(0, 2))
        if len(line) + _BAR + 2 > room:
            grid.add_column(no_wrap=True, overflow="ellipsis")
            grid.add_row(line)
            return grid
        grid.add_column(width=_BAR)
        grid.add_column(no_wrap=True)
        grid.add_row(ProgressBar(total=max(1, counts.total), completed=counts.ended, width=_BAR), line)
        return grid


def make_screen(*, quiet: bool) -> Screen:
    """Return the display that fits standard error."""
    is_terminal = bool(sys.stderr and sys.stderr.isatty()) and os.environ.get("TERM") != "dumb"
    return LiveScreen(quiet=quiet) if is_terminal else Screen(quiet=quiet)


def drop(stream: TextIO) -> None:
    """Point a stream that nobody reads to nowhere, so that flushing it at exit says nothing either."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
    except (OSError, ValueError):  # a stream without a descriptor has nothing to flush at exit
        pass
