"""The client's own rate limit: one pacer for all paid requests of a session, one for all its questions.

A virtual-scheduling token bucket: in any window of `w` seconds at most `burst + rate * w` requests are
sent, and no two closer than a fifth of the time between two at the full rate, or 5 ms if that is less.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import evolve, field, frozen
from attrs.validators import instance_of

from .backoff import at_least

_LONGEST_PAUSE: Final = 300.0
_FIRST_PAUSE: Final = 2.0  # after a 429 that does not say how long; doubles with each further round
_SLOWDOWN: Final = 0.6
_RECOVERY: Final = 0.02  # of the full rate, for each second without a 429
_SLOWEST: Final = 0.5  # requests a second, or the full rate if that is lower
_WIDEST_GAP: Final = 0.005
_WINDOW: Final = 10.0  # seconds over which the service counts, and over which a lower rate shows


@frozen(kw_only=True)
class RateLimits:
    """How fast a session sends, in requests a second; the bursts are requests that may go at once.

    The defaults stay inside the limits that ToAPIs documents for the default group: 50 submits in 10 s and
    300 a minute, 500 status queries in 10 s and 3,000 a minute, even if the first requests take 0.4 s longer
    to arrive than later ones, as they do while connections are set up. The service counts per *user*: where several
    processes share a user, give each `RateLimits().share(processes)`.
    """

    submit_per_second: float = field(default=4.4, converter=float, validator=at_least(0, exclusive=True))
    submit_burst: int = field(default=5, validator=[instance_of(int), at_least(1)])
    query_per_second: float = field(default=45.0, converter=float, validator=at_least(0, exclusive=True))
    query_burst: int = field(default=25, validator=[instance_of(int), at_least(1)])

    @classmethod
    def for_group(cls, group: Literal["default", "vip", "svip"]) -> RateLimits:
        """Return the limits for a user group as documented by ToAPIs.

        Raises:
            ValueError: there is no such group.

        """
        if group == "default":
            return cls()
        if group == "vip":
            return cls(submit_per_second=14.5, submit_burst=16, query_per_second=150, query_burst=100)
        if group == "svip":
            return cls(submit_per_second=29, submit_burst=33, query_per_second=450, query_burst=300)
        raise ValueError(f"group: {group!r} is not one of default, vip, svip")

    def share(self, n: int) -> RateLimits:
        """Return the part of these limits for one of `n` processes, so that all together stay inside them.

        Raises:
            ValueError: `n` is below 1, or so large that not one request in ten seconds is left for each.

        """
        if n < 1:
            raise ValueError(f"n: {n!r} is not 1 or more")
        submit_burst, submit_rate = _share(self.submit_burst, self.submit_per_second, n)
        query_burst, query_rate = _share(self.query_burst, self.query_per_second, n)
        return evolve(
            self,
            submit_per_second=submit_rate,
            submit_burst=submit_burst,
            query_per_second=query_rate,
            query_burst=query_burst,
        )


def _share(burst: int, rate: float, n: int) -> tuple[int, float]:
    part = max(1, burst // n)
    # A burst cannot be split below one request: what that adds to a window of ten seconds, the rate gives up.
    left = min(rate / n, (burst + 10 * rate) / (10 * n) - part / 10)
    if left <= 0:
        raise ValueError(f"n: {n!r} processes are too many for a burst of {burst} and {rate:g} requests a second")
    return part, left


class Pacer:
    """Says how long the next request has to wait. Times are seconds of any one monotonic clock."""

    def __init__(self, rate: float, burst: int) -> None:
        self._full_rate = self._rate = rate
        self._full_burst = float(burst)
        self._burst = float(burst)
        self._gap = min(_WIDEST_GAP, 0.2 / rate)
        self._next = self._paid_until = self._paused_until = self._updated = float("-inf")
        self._slowed_at = self._eased_at = float("-inf")
        self._unhinted = 0

    @property
    def paused_until(self) -> float:
        """The end of the pause that the service asked for; in the past if there is none."""
        return self._paused_until

    def delay(self, now: float) -> float:
        """Seconds until the next request may be sent; 0 means now."""
        self._recover(now)
        ahead = (self._burst - 1) / self._rate
        return max(self._paused_until, self._next, self._paid_until - ahead, now) - now

    def take(self, now: float) -> None:
        """Count a request that is sent now."""
        self._next = now + self._gap
        self._paid_until = max(self._paid_until, now) + 1 / self._rate

    def answered(self) -> None:
        """Note an answer that is not a refusal."""
        self._unhinted = 0

    def throttled(self, now: float, *, sent_at: float, retry_after: float | None, jitter: float = 0.0) -> float:
        """Note a refusal: everybody pauses, and once per round the rate drops. Returns the pause's end.

        All refusals of requests that were sent before the last drop belong to its round. `jitter` seconds are
        added to a pause, so that the processes of one user do not come back together.
        """
        self._recover(now)
        new_round = sent_at >= self._slowed_at
        if new_round:
            self._slowed_at = now
            self._slow_down()
        if retry_after is not None:
            pause = retry_after
        elif new_round:
            pause = _FIRST_PAUSE * 2.0 ** min(self._unhinted, 10)
            self._unhinted += 1
        else:
            pause = 0.0
        if pause > 0:
            self._paused_until = max(self._paused_until, now + min(pause + jitter, _LONGEST_PAUSE))
        return self._paused_until

    def ease(self, now: float) -> None:
        """Slow down without a pause: the user's budget is nearly used up, by other processes for instance.

        At most once in the time over which the service counts, so that an answer which always says so does little.
        """
        self._recover(now)
        if now >= self._eased_at + _WINDOW:
            self._eased_at = now
            self._slow_down()

    def _slow_down(self) -> None:
        self._rate = max(min(_SLOWEST, self._full_rate), self._rate * _SLOWDOWN)
        self._burst = 1.0

    def _recover(self, now: float) -> None:
        quiet = now - max(self._updated, self._paused_until)
        self._updated = max(now, self._updated)
        if quiet > 0 and (self._rate < self._full_rate or self._burst < self._full_burst):
            self._rate = min(self._full_rate, self._rate + _RECOVERY * self._full_rate * quiet)
            self._burst = min(self._full_burst, self._burst + _RECOVERY * self._full_burst * quiet)
