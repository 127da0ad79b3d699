"""Text from prompts and from the service, made harmless for a terminal and for a line of a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from toapis_async import ApiError, ToapisError

if TYPE_CHECKING:
    from datetime import datetime

_JOINERS: Final = "\u200c\u200d"  # invisible, but parts of ordinary words and emoji
PROMPT_WIDTH: Final = 48


def clean(text: str) -> str:
    """Return the text on one line, with control and direction characters shown as escapes."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(
        c if c.isprintable() or c in _JOINERS else c.encode("ascii", "backslashreplace").decode() if c > "\x7f"
        else f"\\x{ord(c):02x}"
        for c in line
    )  # fmt: skip


def shorten(text: str, width: int = PROMPT_WIDTH) -> str:
    """Return the beginning of the text on one line."""
    line = clean(text[: 4 * width])
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def explain(error: ToapisError) -> str:
    """Return what went wrong in one line, without the handle, which is printed beside it."""
    detail = ""
    if isinstance(error, ApiError):
        detail = f" (HTTP {error.http_status}{f', {error.code}' if error.code else ''})"
    return clean(error.message + detail)


def duration(seconds: float) -> str:
    """Return minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def timestamp(moment: datetime | None) -> str | None:
    """Return ISO 8601, to the second, in UTC."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None
