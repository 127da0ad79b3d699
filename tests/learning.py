"""What a session has learned about how long tasks take."""

from __future__ import annotations

import math

from toapis_async import ToapisSession
from toapis_async._schedule.adaptive import LifeTables, TableKey

KEY = TableKey("image", "grok-4-1-image")


def tables_of(session: ToapisSession) -> LifeTables:
    parts = session._parts  # pyright: ignore[reportPrivateUsage]
    assert parts is not None
    return parts.dispatcher.tables


def learned(session: ToapisSession, key: TableKey = KEY) -> float:
    """Return how many tasks the session has seen finish; older ones count for less."""
    return math.fsum(tables_of(session).table(key).to_data()["finished"])
