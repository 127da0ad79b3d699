"""The pieces of the display that need no process."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from toapis_async.cli.display import Pace
from toapis_async.cli.text import clean, duration, shorten, timestamp


def test_the_time_left_is_unknown_until_there_is_a_rate() -> None:
    pace = Pace()
    assert pace.left(10, 5.0) is None
    pace.tick(5.0)
    assert pace.left(10, 5.0) is None
    pace.tick(7.0)
    assert pace.left(10, 7.0) == 20.0


def test_the_time_left_follows_the_recent_rate_and_grows_while_nothing_ends() -> None:
    pace = Pace()
    for second in range(100):
        pace.tick(second * 100.0)
    for second in range(60):
        pace.tick(10_000.0 + second)
    assert pace.left(60, 10_059.0) == 60.0
    assert pace.left(60, 10_118.0) == 120.0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\r\nlines\tand a tab", "two lines and a tab"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J\ud800\u202e", "\\x9b2J\\ud800\\u202e"),
        ("ünï 你好 👩\u200d🚀", "ünï 你好 👩\u200d🚀"),
    ],
)
def test_text_is_made_harmless_and_stays_readable(text: str, shown: str) -> None:
    assert clean(text) == shown
    clean("👩\u200d\x07🚀").encode()


def test_a_long_prompt_is_cut() -> None:
    assert shorten("word " * 100, 12) == "word word w…"
    assert shorten("short") == "short"


def test_times_are_short() -> None:
    assert [duration(seconds) for seconds in (0.9, 61, 3_600 + 62)] == ["0:00", "1:01", "1:01:02"]
    assert timestamp(None) is None
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=UTC)) == "2026-01-02T03:04:05Z"
