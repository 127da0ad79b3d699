"""The exit codes, and the order in which they win when several apply."""

from __future__ import annotations

import enum
import signal
from collections.abc import Iterable
from typing import Final


class Exit(enum.IntEnum):
    """What the command tells the shell."""

    OK = 0
    FAILED = 1
    INVALID = 2
    REFUSED = 3
    OPEN = 4
    INTERRUPTED = 128 + signal.SIGINT


class UsageError(Exception):
    """The command cannot be run as it was given; nothing was sent."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        """What is wrong: every problem, each on a line."""
        super().__init__(*self.lines)


TABLE: Final = """\
- 0: everything is completed and saved.
- 1: an item failed, a picture or the page of `--gallery` could not be saved, the journal could not be written any more,
  or `status` or `fetch` got no answer or found no such task.
- 2: wrong usage or invalid input, or the journal cannot be used, or `gallery` could not write its page; nothing was
  sent.
- 3: the service refused the key, or the balance is used up. What it had accepted before is delivered.
- 4: nothing failed, but tasks are unfinished (timed out or unresolved); their ids were printed.
- 130: interrupted (143 by SIGTERM, 129 by a terminal that closes); the ids of unfinished tasks were printed."""
