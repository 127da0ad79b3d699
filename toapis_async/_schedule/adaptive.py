"""The backoff that learns: what a user sets, the life tables of a session, and the looks at one task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias, cast

from attrs import field, frozen
from attrs.converters import optional as unless_none
from attrs.validators import le, optional

from ..models import ImageRequest, TaskKind
from .backoff import Backoff, BackoffSchedule, TaskSchedule, at_least, to_seconds
from .lifetable import TYPICAL_RANGE, LifeTable

_TYPICAL: Final[Mapping[str, float]] = {"image": 15.0, "video": 120.0}  # middles of what ToAPIs documents
_FIRST_LOOK: Final = 5.0  # to 6 s: finds what failed at once, and bounds the delay whatever was learned
_ENOUGH_POLLS: Final = 6.0  # to afford that look
_LONGEST_WAIT: Final = 60.0
_LEAST_GROWTH: Final = 0.02  # of the age
_OVERDUE_GROWTH: Final = 0.1
_MOST_GROWTH: Final = 3.0
_JITTER: Final = 0.1
_FIRST_JITTER: Final = 0.25
_SMOOTHING: Final = 0.02
_CLOCK_STEP: Final = 1.0  # the service tells its times in whole seconds
_MOST_TABLES: Final = 256
_LONGEST_OPTION: Final = 64


@frozen(kw_only=True)
class AdaptiveBackoff:
    """Waits that are a fraction of the task's age, like those of any exponential backoff; the fraction adapts.

    How long recent tasks of the same model took is remembered, and a task is looked at more often around the
    ages at which they usually finish, less often elsewhere. The first look comes within 6 seconds, the age at most
    about quadruples between two looks, and no wait is longer than 60 seconds. Times are in seconds, as a number or
    a `timedelta`.
    """

    polls: float = field(default=8.0, converter=float, validator=at_least(1))
    """Looks that a task should cost on average, however long it runs. With fewer than 6 the first look may come
    later than after 6 seconds."""
    min_interval: float = field(
        default=2.0, converter=to_seconds, validator=[at_least(0, exclusive=True), le(_LONGEST_WAIT)]
    )
    """Shortest wait; at most 60 seconds. Wins over all else that is said about waits here."""
    typical: float | None = field(
        default=None,
        converter=unless_none(to_seconds),
        validator=optional([at_least(TYPICAL_RANGE[0]), le(TYPICAL_RANGE[1])]),
    )
    """How long a task usually takes, 0.1 seconds to one hour; counts as much as one task that was seen. None:
    15 seconds for pictures."""
    deadline: float = field(default=1800.0, converter=to_seconds, validator=at_least(0, exclusive=True))
    """The whole wait: from acceptance, attaching or resuming on, pauses included. The task outlives it."""

    def first_wait(self, table: LifeTable, random: Callable[[], float], *, stretch: float = 1.0) -> float:
        """Return the seconds from acceptance to the first look; see `next_wait`."""
        step = (1 + _FIRST_JITTER * (2 * random() - 1)) * stretch
        wait = table.next_age(0.0, self.polls, step)
        if self.polls >= _ENOUGH_POLLS:
            wait = min(wait, _FIRST_LOOK * (1 + 0.2 * random()))
        return min(max(wait, self.min_interval), _LONGEST_WAIT)

    def next_wait(self, table: LifeTable, age: float, random: Callable[[], float], *, stretch: float = 1.0) -> float:
        """Return the seconds from a look at `age` to the next.

        `random` returns numbers in 0 to 1; `stretch`, 1 or more, makes all steps longer while requests queue up.
        """
        if age <= 0:
            return self.first_wait(table, random, stretch=stretch)
        wait = table.next_age(age, self.polls, stretch) - age
        least = _OVERDUE_GROWTH if age > table.overdue else _LEAST_GROWTH
        wait = min(max(wait, least * age), max(_MOST_GROWTH * age, self.min_interval))
        wait *= 1 + _JITTER * (2 * random() - 1)
        return min(max(wait, self.min_interval), _LONGEST_WAIT)


class TableKey(NamedTuple):
    """What decides how long a task takes: tasks alike in all of it share a life table."""

    kind: str
    model: str
    n: int = 1
    resolution: str | None = None
    duration: str | None = None

    @classmethod
    def of(cls, kind: TaskKind, request: ImageRequest) -> TableKey:
        """Return the key of the task that a request asks for."""
        return cls(kind, request.model, request.n or 1, _option(request, "resolution"), _option(request, "duration"))


def _option(request: ImageRequest, name: str) -> str | None:
    # Some models take it at the top level, others inside `metadata`.
    value = request.extra.get(name, request.metadata.get(name))
    return None if value is None else str(value).casefold()[:_LONGEST_OPTION]


class LifeTables:
    """The life tables of a session, and how much its looks are held up: all go through one pacer.

    Of more than `most` tables, the one that was not asked for the longest is forgotten.
    """

    def __init__(self, most: int = _MOST_TABLES) -> None:
        self._most = most
        self._tables: dict[TableKey, LifeTable] = {}
        self._mean_wait = 1.0
        self._mean_lateness = 0.0

    def table(self, key: TableKey, typical: float | None = None) -> LifeTable:
        """Return the table of a key; `typical` in seconds, if given, replaces what was taken for typical."""
        table = self._tables.pop(key, None)
        if table is None:
            table = LifeTable(_TYPICAL.get(key.kind, _TYPICAL["image"]) if typical is None else typical)
        elif typical is not None:
            table.expect(typical)
        self._tables[key] = table
        if len(self._tables) > self._most:
            del self._tables[next(iter(self._tables))]
        return table

    @property
    def stretch(self) -> float:
        """How much longer than planned steps should be, 1 or more, so that no queue builds up at the pacer."""
        return 1 + self._mean_lateness / self._mean_wait

    def waits(self, seconds: float) -> float:
        """Take note of a wait that was decided on, and return it."""
        self._mean_wait += _SMOOTHING * (seconds - self._mean_wait)
        return seconds

    def late(self, seconds: float) -> None:
        """Take note of how long a look that was due had to wait for its turn, also if that was 0 seconds."""
        self._mean_lateness += _SMOOTHING * (max(seconds, 0.0) - self._mean_lateness)

    def to_data(self) -> list[Any]:
        """Return all tables, fit for JSON."""
        return [[list(key), table.to_data()] for key, table in self._tables.items()]

    def restore(self, data: Any) -> None:
        """Take over what `to_data` returned, for the keys of which nothing is known yet.

        Raises:
            ValueError: it is something else; nothing was taken over.

        """
        try:
            restored = {_key_from(key): LifeTable.from_data(table) for key, table in data}
        except TypeError as error:
            raise ValueError(f"not life tables: {error}") from None
        # Behind those of this session: what is older is forgotten first.
        self._tables = {**{key: table for key, table in restored.items() if key not in self._tables}, **self._tables}
        for key in list(self._tables)[: -self._most]:
            del self._tables[key]


def _key_from(data: Any) -> TableKey:
    key = TableKey(*data)
    texts = (key.kind, key.model, key.resolution or "", key.duration or "")
    if not isinstance(cast(object, key.n), int) or not all(isinstance(cast(object, text), str) for text in texts):
        raise ValueError(f"not the key of a life table: {data!r}")
    return key


class AdaptiveSchedule:
    """The looks at one task by an `AdaptiveBackoff`, with the table that they follow and teach.

    Of a task that was `joined` some time after it began, nothing is learned about the time before.
    """

    __slots__ = ("_backoff", "_pending_until", "_table", "_tables", "_unknown")

    def __init__(self, backoff: AdaptiveBackoff, tables: LifeTables, key: TableKey, *, joined: bool) -> None:
        self._backoff = backoff
        self._tables = tables
        # Only until the model is known: there may be thousands of these.
        self._unknown = None if key.model else key
        self._table = tables.table(key, backoff.typical)
        self._pending_until = None if joined else 0.0

    @property
    def deadline(self) -> float:
        """Seconds for which the task is waited for."""
        return self._backoff.deadline

    def first_wait(self, random: Callable[[], float]) -> float:
        """Return the seconds from acceptance to the first look."""
        return self._tables.waits(self._backoff.first_wait(self._table, random, stretch=self._tables.stretch))

    def next_wait(self, age: float, random: Callable[[], float], *, pending: bool = True) -> float:
        """Return the seconds from a look at `age` to the next one, after learning from a `pending` task."""
        if pending and (self._pending_until is None or age > self._pending_until):
            if self._pending_until is not None:
                self._table.note_pending(self._pending_until, age)
            self._pending_until = age
        return self._tables.waits(self._backoff.next_wait(self._table, age, random, stretch=self._tables.stretch))

    def finished(self, age: float, created_at: datetime | None = None, completed_at: datetime | None = None) -> None:
        """Learn when the task finished: between the last look that saw it running and this one.

        The duration by the service's clock narrows that down if it lies in between, and is ignored if not.
        """
        after, by = self._pending_until or 0.0, age
        if created_at and completed_at:
            duration = (completed_at - created_at).total_seconds()
            earliest, latest = max(after, duration - _CLOCK_STEP), min(by, duration + _CLOCK_STEP)
            if earliest < latest:
                self._table.note_pending(after, earliest)
                self._table.note_finished(earliest, latest)
                return
        if self._pending_until is not None:
            self._table.note_finished(after, by)

    def late(self, seconds: float) -> None:
        """Take note of how long a look that was due had to wait for its turn, also if that was 0 seconds."""
        self._tables.late(seconds)

    def is_of(self, model: str) -> None:
        """Take note of what the service says is the model of a task that was known by its id only."""
        if self._unknown:
            self._table = self._tables.table(self._unknown._replace(model=model), self._backoff.typical)
            self._unknown = None


Poll: TypeAlias = AdaptiveBackoff | Backoff
"""When to look at waiting tasks, as users say it."""


def task_schedule(poll: Poll, tables: LifeTables, key: TableKey, *, joined: bool = False) -> TaskSchedule:
    """Return when to look at one task, in a session that keeps `tables`; see `AdaptiveSchedule`."""
    if isinstance(poll, AdaptiveBackoff):
        return AdaptiveSchedule(poll, tables, key, joined=joined)
    return BackoffSchedule(poll)
