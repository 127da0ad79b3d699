"""The documented rate limits: sliding windows over the requests of one user."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

Category = Literal["async_submit", "async_query"]
"""The two buckets, as `X-RateLimit-Category` names them."""

Group = Literal["default", "vip", "svip"]
"""The user groups with documented limits."""

_MINUTE, _BURST = 60.0, 10.0
_ROUNDING = 1e-6
"""Seconds a request may come early: sums of floats must not turn "exactly ten seconds later" into a refusal."""


@frozen(kw_only=True)
class GroupLimits:
    """How many requests one user may send, in any minute and in any 10 s."""

    submit_per_minute: int
    submit_per_10s: int
    query_per_minute: int
    query_per_10s: int

    def __attrs_post_init__(self) -> None:
        if min(self.submit_per_minute, self.submit_per_10s, self.query_per_minute, self.query_per_10s) < 1:
            raise ValueError("every limit must allow at least one request")

    def windows(self, category: Category) -> tuple[tuple[int, float], tuple[int, float]]:
        """Return (requests, seconds) of the two windows of a category."""
        if category == "async_submit":
            return (self.submit_per_minute, _MINUTE), (self.submit_per_10s, _BURST)
        return (self.query_per_minute, _MINUTE), (self.query_per_10s, _BURST)


def _group(submits: int, submit_burst: int, queries: int, query_burst: int) -> GroupLimits:
    return GroupLimits(
        submit_per_minute=submits,
        submit_per_10s=submit_burst,
        query_per_minute=queries,
        query_per_10s=query_burst,
    )


GROUPS: Mapping[Group, GroupLimits] = {
    "default": _group(300, 50, 3_000, 500),
    "vip": _group(1_000, 167, 10_000, 1_667),
    "svip": _group(2_000, 334, 30_000, 5_000),
}
"""The limits documented by ToAPIs in autumn 2026."""


class _Window:
    """The times of the requests of the last `seconds`, of which there may be `limit`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self._seconds = seconds
        self._times: deque[float] = deque()

    def forget(self, now: float) -> None:
        """Drop what has left the window."""
        times, oldest = self._times, now - self._seconds + _ROUNDING
        while times and times[0] <= oldest:
            times.popleft()

    @property
    def remaining(self) -> int:
        return self.limit - len(self._times)

    def wait(self, now: float) -> float:
        """Return the seconds until one more request fits."""
        if self.remaining > 0:
            return 0.0
        return self._times[-self.limit] + self._seconds - now

    def until_empty_slot(self, now: float) -> float:
        """Return the seconds until the oldest request leaves the window."""
        return self._times[0] + self._seconds - now if self._times else 0.0

    def add(self, now: float) -> None:
        self._times.append(now)


@frozen(kw_only=True)
class Verdict:
    """Whether a request was let through, and what the service says about it."""

    wait: float
    """Seconds until the same request would be let through; 0 if it was."""
    headers: Mapping[str, str] = field(factory=dict[str, str])
    """The `X-RateLimit-*` fields."""


class RateLimiter:
    """Counts the requests of one user against `limits`; a refused request does not count."""

    def __init__(self, limits: GroupLimits | None, time_factor: float) -> None:
        categories: tuple[Category, ...] = ("async_submit", "async_query")
        self._windows: dict[Category, list[_Window]] = {}
        if limits is not None:
            self._windows = {
                category: [_Window(limit, seconds / time_factor) for limit, seconds in limits.windows(category)]
                for category in categories
            }

    def admit(self, category: Category, now: float, unix_now: float) -> Verdict:
        """Count one request at `now`, or say how long to wait. `X-RateLimit-Reset` is in Unix seconds."""
        windows = self._windows.get(category)
        if windows is None:
            return Verdict(wait=0.0)
        for window in windows:
            window.forget(now)
        wait = max(window.wait(now) for window in windows)
        if not wait:
            for window in windows:
                window.add(now)
        tightest = min(windows, key=lambda window: window.remaining / window.limit)
        reset = unix_now + max(wait, tightest.until_empty_slot(now))
        headers = {
            "X-RateLimit-Limit": str(tightest.limit),
            "X-RateLimit-Remaining": str(max(0, tightest.remaining)),
            "X-RateLimit-Reset": str(math.ceil(reset)),
            "X-RateLimit-Category": category,
        }
        return Verdict(wait=wait, headers=headers)
