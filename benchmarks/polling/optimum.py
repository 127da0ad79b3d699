"""The best that any schedule could do that knows how long tasks take, but not this one; and curves of delay by polls.

Exact optimal inspection (Barlow, Hunter, Proschan 1963): for a price on each look, the schedule that costs
least, by dynamic programming from the oldest age back. Sweeping the price gives delay against polls.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from benchmarks.polling.simulation import MEAN_ROUND_TRIP

_QUANTILES = 300
_STEPS = 150


class Point(NamedTuple):
    polls: float
    delay: float


def optimum(durations: Iterable[float], prices: int = 16) -> list[Point]:
    """Return what optimal schedules cost, for several prices of a look; finding takes half a round trip at least."""
    ordered = sorted(durations)
    ages = _grid(ordered)
    ended = [bisect_right(ordered, age) for age in ages]
    sums = list(accumulate(ordered, initial=0.0))
    total = len(ordered)
    shares = [number / total for number in ended]
    time = [sums[number] / total for number in ended]
    mean = time[-1]
    points: list[Point] = []
    for price in spaced(0.8 * mean, 0.00015 * mean, prices):
        polls, delay = _cheapest(ages, shares, time, price)
        points.append(Point(polls, delay + MEAN_ROUND_TRIP / 2))
    return points


def _grid(ordered: Sequence[float]) -> list[float]:
    low, high, last = ordered[0], ordered[-1], len(ordered) - 1
    quantiles = (ordered[round(last * i / (_QUANTILES - 1))] for i in range(_QUANTILES))
    evenly = (low + (high - low) * i / (_STEPS - 1) for i in range(_STEPS))
    return sorted({0.0, *quantiles, *spaced(low, high, _STEPS), *evenly, high * 1.0001})


def _cheapest(ages: list[float], shares: list[float], time: list[float], price: float) -> tuple[float, float]:
    last = len(ages) - 1
    cost, polls, delay = ([0.0] * (last + 1) for _ in range(3))
    # The best next look never comes earlier than that of a younger age, so the search narrows.
    latest = last
    for i in range(last - 1, -1, -1):
        alive = 1 - shares[i]
        if alive <= 1e-12:
            continue
        share, spent = shares[i], time[i]
        best, best_cost = latest, math.inf
        for j in range(i + 1, latest + 1):
            candidate = ages[j] * (shares[j] - share) - (time[j] - spent) + cost[j]
            if candidate < best_cost:
                best, best_cost = j, candidate
        latest = best
        cost[i] = price * alive + best_cost
        polls[i] = alive + polls[best]
        delay[i] = ages[best] * (shares[best] - share) - (time[best] - spent) + delay[best]
    return polls[0], delay[0]


def spaced(start: float, end: float, number: int) -> list[float]:
    """Return numbers from `start` to `end`, each the same multiple of the one before."""
    return [start * (end / start) ** (i / (number - 1)) for i in range(number)]


def best_of(points: Iterable[Point]) -> list[Point]:
    """Leave out the points that cost more than another and find no sooner."""
    curve: list[Point] = []
    for point in sorted(points):
        if not curve or point.delay < curve[-1].delay:
            curve.append(point)
    return curve


def delay_at(points: Iterable[Point], polls: float) -> float | None:
    """Return a curve's delay at a number of polls, log-log between its points; None beyond its ends."""
    curve = best_of(points)
    if not 0.97 * curve[0].polls <= polls <= 1.03 * curve[-1].polls:
        return None
    if polls <= curve[0].polls:
        return curve[0].delay
    for before, after in pairwise(curve):
        if polls <= after.polls:
            part = math.log(polls / before.polls) / math.log(after.polls / before.polls)
            return before.delay * math.exp(part * math.log(after.delay / before.delay))
    return curve[-1].delay
