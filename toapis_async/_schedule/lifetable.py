"""When tasks of one sort usually finish, learned from those that were seen, and how densely to look at each age.

A life table counts, for each range of ages, how long tasks were at risk of finishing and how many did. Their
quotient is the hazard; looking at a density of its square root finds a task with the least delay for the looks
it costs (J. B. Keller, Management Science 21, 1974). Pure: the caller brings ages and random numbers.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, Final

_BINS: Final = 50
_EDGES: Final = tuple(0.5 * 1.2**i for i in range(_BINS + 1))
"""Ages in seconds between which tasks are counted, from 0.5 s to 4,550 s. The first bin begins at age 0, but
only what lies above its edge counts as exposure: below, the logarithm of an age says nothing."""
_YOUNGEST: Final = _EDGES[0]
_OLDEST: Final = _EDGES[-1]
_MIDDLES: Final = tuple(math.sqrt(low * high) for low, high in pairwise(_EDGES))
_WIDTH: Final = math.log(1.2)

_KEPT: Final = 0.97  # of all evidence, with each task that finishes: 20 tasks later half of it counts
_MEMORY: Final = 1 / (1 - _KEPT)
_LARGEST_WEIGHT: Final = 1e9
_PENDING_EVIDENCE: Final = 0.1  # what a look at a running task tells, in finished tasks
_PLAN_STALE: Final = 0.05  # a plan is made anew when there is this much more evidence

TYPICAL_RANGE: Final = (0.1, 3600.0)
"""Seconds that may be taken for a typical duration."""
_SPREAD: Final = 0.55
_OVERDUE: Final = 0.02  # of all tasks


def _bin(age: float) -> int:
    return bisect_right(_EDGES, age, 1, _BINS) - 1


def _smoothed(counts: Sequence[float]) -> list[float]:
    padded = [counts[0], *counts, counts[-1]]
    return [(padded[i] + 2 * padded[i + 1] + padded[i + 2]) / 4 for i in range(_BINS)]


@lru_cache(maxsize=64)
def _prior(typical: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the finished tasks and the exposure, by bin, of one imagined task with log-logistic duration."""
    finished: list[float] = []
    exposure: list[float] = []
    for age in _MIDDLES:
        odds = (age / typical) ** (1 / _SPREAD)
        # Far beyond the typical age the hazard falls: whatever runs that long may run much longer.
        hazard = odds / (1 + odds) / _SPREAD * min(1.0, 4 * typical / age)
        at_risk = max(1 / (1 + odds), 0.05) * _WIDTH
        finished.append(at_risk * hazard)
        exposure.append(at_risk)
    return tuple(finished), tuple(exposure)


class LifeTable:
    """What is known about how long tasks of one sort take. Ages are in seconds, hazards per unit of log-age."""

    __slots__ = (
        "_cost", "_evidence", "_exposure", "_finished", "_looks", "_overdue", "_planned_at", "_typical", "_weight",
    )  # fmt: skip

    def __init__(self, typical: float) -> None:
        self._typical = typical
        self._finished = array("d", bytes(8 * _BINS))
        self._exposure = array("d", bytes(8 * _BINS))
        # Of the next observation. It grows where all earlier ones should shrink, which comes to the same.
        self._weight = 1.0
        self._evidence = 0.0
        self._planned_at = -math.inf
        self._looks = array("d")  # by age, up to a factor
        self._cost = 1.0  # what a task then costs on average
        self._overdue = _OLDEST

    def expect(self, typical: float) -> None:
        """Take another duration, in seconds, for typical: it weighs as much as one task that was seen."""
        if typical != self._typical:
            self._typical = typical
            self._planned_at = -math.inf

    def note_pending(self, since: float, until: float) -> None:
        """Count a task that was running from the age `since` to the age `until`."""
        since, until = max(since, _YOUNGEST), min(until, _OLDEST)
        if until <= since:
            return
        exposure, weight = self._exposure, self._weight
        first, last = _bin(since), _bin(until)
        if first == last:
            exposure[first] += weight * math.log(until / since)
        else:
            exposure[first] += weight * math.log(_EDGES[first + 1] / since)
            for i in range(first + 1, last):
                exposure[i] += weight * _WIDTH
            exposure[last] += weight * math.log(until / _EDGES[last])
        self._evidence += _PENDING_EVIDENCE

    def note_finished(self, after: float, by: float) -> None:
        """Count a task that finished at an age above `after` and not above `by`, and let older evidence fade.

        Any age in between is taken to be as likely as any other.
        """
        if self._weight > _LARGEST_WEIGHT:
            self._finished = array("d", (count / self._weight for count in self._finished))
            self._exposure = array("d", (time / self._weight for time in self._exposure))
            self._weight = 1.0
        after = max(min(after, by - 0.001), _YOUNGEST / 2)
        by = max(by, after * 1.001)
        for i in range(_bin(after), _bin(by) + 1):
            start, end = max(after, _EDGES[i] if i else 0.0), min(by, _EDGES[i + 1])
            share = max(end - start, 0.0) / (by - after)
            running = (by - end) / (by - after) + share / 2
            self._finished[i] += self._weight * share
            self._exposure[i] += self._weight * running * math.log(max(end / max(start, _YOUNGEST), 1.0))
        self._weight /= _KEPT
        self._evidence += 1

    def hazard(self) -> list[float]:
        """Return, by bin, how many tasks finish for each task and unit of log-age at risk."""
        finished, exposure, weight = _smoothed(self._finished), _smoothed(self._exposure), self._weight
        return [
            (count + weight * imagined) / (time + weight * imagined_time)
            for count, time, imagined, imagined_time in zip(finished, exposure, *_prior(self._typical), strict=True)
        ]

    def plan(self, polls: float) -> list[float]:
        """Return how many looks a task should have had by each edge, if one is to cost `polls` on average."""
        self._refresh()
        return [looks * _looks_in_all(polls) / self._cost for looks in self._looks]

    @property
    def overdue(self) -> float:
        """The age that all but two in a hundred tasks stay under."""
        self._refresh()
        return self._overdue

    def next_age(self, age: float, polls: float, step: float = 1.0) -> float:
        """Return the age at which a task seen running at `age` should have had `step` looks more."""
        self._refresh()
        if age >= _OLDEST:
            return age * 1.25
        looks, i = self._looks, _bin(age)
        share = max(age - _EDGES[i], 0.0) / (_EDGES[i + 1] - _EDGES[i])
        aim = looks[i] + (looks[i + 1] - looks[i]) * share + step * self._cost / _looks_in_all(polls)
        if aim >= looks[-1]:
            return max(age * 1.25, _OLDEST)
        i = bisect_right(looks, aim) - 1
        return _EDGES[i] + (_EDGES[i + 1] - _EDGES[i]) * (aim - looks[i]) / (looks[i + 1] - looks[i])

    def _refresh(self) -> None:
        # Never older than what is remembered: in a long session a share of all evidence would be forever.
        if self._evidence - self._planned_at < max(1.0, min(_PLAN_STALE * self._evidence, _MEMORY)):
            return
        self._planned_at = self._evidence
        self._overdue = _OLDEST
        surviving, cost = 1.0, 0.0
        density: list[float] = []
        for i, hazard in enumerate(self.hazard()):
            if surviving < _OVERDUE and self._overdue == _OLDEST:
                self._overdue = _EDGES[i]
            staying = math.exp(-hazard * _WIDTH)
            density.append(math.sqrt(hazard * _MIDDLES[i]) * _WIDTH)
            cost += density[i] * surviving * (1 + staying) / 2
            surviving *= staying
        self._cost = cost
        self._looks = array("d", accumulate(density, initial=0.0))

    def to_data(self) -> dict[str, Any]:
        """Return all that was learned, fit for JSON."""
        return {
            "typical": self._typical,
            "evidence": self._evidence,
            "finished": [count / self._weight for count in self._finished],
            "exposure": [time / self._weight for time in self._exposure],
        }

    @classmethod
    def from_data(cls, data: Any) -> LifeTable:
        """Read what `to_data` returned.

        Raises:
            ValueError: it is something else.

        """
        try:
            table = cls(_number(data["typical"], *TYPICAL_RANGE))
            table._evidence = _number(data["evidence"])
            table._finished = _numbers(data["finished"])
            table._exposure = _numbers(data["exposure"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a life table: {error!r}") from None
        return table


def _looks_in_all(polls: float) -> float:
    # The look that finds a task comes on average half a step after its end.
    return max(polls - 0.5, 0.3)


def _number(value: Any, low: float = 0.0, high: float = 1e12) -> float:
    if not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"not a life table: {value!r} is not a number from {low:g} to {high:g}")
    return float(value)


def _numbers(values: Any) -> array[float]:
    if len(values) != _BINS:
        raise ValueError(f"not a life table: {len(values)} bins instead of {_BINS}")
    return array("d", map(_number, values))
