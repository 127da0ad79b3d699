"""Warnings of the package, as lines of the display."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

from .display import Screen
from .text import clean


class _LogLines(logging.Handler):
    """Shows records on the display."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; what this command tells in its own words at the end is left out."""
        text = record.getMessage()
        if not text.startswith(("Left a batch", "Closed a session")):
            reason = f": {record.exc_info[1]!r}" if record.exc_info else ""
            self._screen.report(clean(text + reason), mark="warning", style="yellow")


@contextmanager
def log_lines(screen: Screen) -> Generator[None]:
    """Let the package's warnings go to the display."""
    logger = logging.getLogger("toapis_async")
    handler = _LogLines(screen)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
