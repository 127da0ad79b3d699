"""The wait for one id."""

from .looks import (
    announce_end,
    ask,
    next_look,
    state_of,
    take_turn,
    watch_id,
    watch_lost,
    watch_submission,
    watch_until_end,
)
from .watch import Origin, Verdict, Watch

__all__ = [
    "Origin",
    "Verdict",
    "Watch",
    "announce_end",
    "ask",
    "next_look",
    "state_of",
    "take_turn",
    "watch_id",
    "watch_lost",
    "watch_submission",
    "watch_until_end",
]
