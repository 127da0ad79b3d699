"""Exponential backoff, the policy of the paid step, and what every schedule of looks at a task has to offer."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from attrs import field, frozen
from attrs.validators import instance_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from attrs import Attribute

Seconds: TypeAlias = float | timedelta


def to_seconds(value: Seconds) -> float:
    """Convert a `timedelta`; pass a number of seconds through as `float`."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


def at_least(minimum: float, *, exclusive: bool = False) -> Callable[[Any, Attribute[Any], Any], None]:
    """Make an attrs validator for a finite number with a lower bound."""

    def check(instance: Any, attribute: Attribute[Any], value: float) -> None:
        if not math.isfinite(value) or value < minimum or (exclusive and value == minimum):
            bound = f"above {minimum:g}" if exclusive else f"{minimum:g} or more"
            raise ValueError(f"{type(instance).__name__}.{attribute.name}: {value!r} is not {bound} (and finite)")

    return check


@frozen(kw_only=True)
class Backoff:
    """Waits that grow by a factor: `initial`, `initial * factor`, ..., never above `maximum`, each jittered.

    All times are in seconds, as a number or a `timedelta`.
    """

    initial: float = field(default=2.0, converter=to_seconds, validator=at_least(0, exclusive=True))
    """First wait."""
    factor: float = field(default=1.5, converter=float, validator=at_least(1))
    maximum: float = field(default=30.0, converter=to_seconds, validator=at_least(0, exclusive=True))
    """Longest wait, before jitter."""
    jitter: float = field(default=0.1, converter=float, validator=at_least(0))
    """Each wait is multiplied by a random number in `1 - jitter` to `1 + jitter`; below 1."""
    deadline: float = field(default=1800.0, converter=to_seconds, validator=at_least(0, exclusive=True))
    """The whole wait: from acceptance, attaching or resuming on, pauses included. The task outlives it."""

    def __attrs_post_init__(self) -> None:
        if self.jitter >= 1:
            raise ValueError(f"Backoff.jitter: {self.jitter!r} is not below 1")

    def wait(self, number: int, random: Callable[[], float]) -> float:
        """Return the wait before look `number`, counted from 0; `random` returns numbers in 0 to 1."""
        try:
            clamped = min(self.initial * self.factor**number, self.maximum)
        except OverflowError:
            clamped = self.maximum
        return clamped * (1 + self.jitter * (2 * random() - 1))


class TaskSchedule(Protocol):
    """When to look at one task; made by `adaptive.task_schedule`, held by whoever waits for that task.

    Ages are seconds since the task was accepted, by a clock of ours that never goes back. A wait runs from the
    moment a question was sent to the moment the next is to be sent, so that slow answers do not add up.
    `random` returns numbers in 0 to 1.
    """

    @property
    def deadline(self) -> float:
        """Seconds for which the task is waited for."""
        ...

    def first_wait(self, random: Callable[[], float]) -> float:
        """Return the seconds from acceptance to the first look."""
        ...

    def next_wait(self, age: float, random: Callable[[], float], *, pending: bool = True) -> float:
        """Return the seconds from a look at `age` to the next one.

        `pending` says that the answer showed a task that has not finished. A look that failed, or that did not
        find the task, shows nothing: nothing is learned from it.
        """
        ...

    def finished(self, age: float, created_at: datetime | None = None, completed_at: datetime | None = None) -> None:
        """Take note, once, that the task was first seen finished, failed or not, at `age`.

        The two times are the service's own. They are used where they fit to what was seen, and never trusted.
        """
        ...

    def late(self, seconds: float) -> None:
        """Take note of how long a look that was due had to wait for its turn, also if that was 0 seconds."""
        ...

    def is_of(self, model: str) -> None:
        """Take note of what the service says is the model of a task that was known by its id only."""
        ...


class BackoffSchedule:
    """The looks at one task by a `Backoff`: they depend on nothing but their number."""

    __slots__ = ("_backoff", "_number")

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._number = 0

    @property
    def deadline(self) -> float:
        """Seconds for which the task is waited for."""
        return self._backoff.deadline

    def first_wait(self, random: Callable[[], float]) -> float:
        """Return the seconds from acceptance to the first look."""
        return self._backoff.wait(0, random)

    def next_wait(self, age: float, random: Callable[[], float], *, pending: bool = True) -> float:
        """Return the seconds from this look to the next one."""
        self._number += 1
        return self._backoff.wait(self._number, random)

    def finished(self, age: float, created_at: datetime | None = None, completed_at: datetime | None = None) -> None:
        """Learn nothing."""

    def late(self, seconds: float) -> None:
        """Stay as it is: the pacer alone holds back what is too much."""

    def is_of(self, model: str) -> None:
        """Look at tasks of all models alike."""


@frozen(kw_only=True)
class RetryPolicy:
    """What the paid step does when a request certainly was not accepted, and when that is not certain."""

    attempts: int = field(default=5, validator=[instance_of(int), at_least(1)])
    """How often a request that never left this machine is tried, and an upload that fails; with `resubmit_unknown`
    also how often a lost request is sent. Throttling does not use up attempts."""
    backoff: Backoff = field(factory=lambda: Backoff(initial=0.5, factor=2.0, maximum=30.0))
    """Waits between attempts; its deadline is not used."""
    lookup_window: float = field(default=60.0, converter=to_seconds, validator=at_least(0, exclusive=True))
    """Seconds for which a request whose answer was lost is looked up by its client_business_id."""
    max_throttle: float = field(default=300.0, converter=to_seconds, validator=at_least(0))
    """Seconds of nothing but refusals for load after which `RateLimitedError` is raised."""
    resubmit_unknown: bool = False
    """Send a request again, with the same client_business_id, when every look-up in the window was answered
    and each answer was "no such task". This may pay twice: the service gives no proof that it was not accepted."""
