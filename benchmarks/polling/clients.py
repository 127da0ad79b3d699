"""The package's own schedule and pacer, driven the way a session drives them; and the peers."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Final

from benchmarks.polling.peers import Peer
from benchmarks.polling.simulation import RETRY_AFTER, Answer, Task
from toapis_async import RateLimits
from toapis_async._schedule.adaptive import AdaptiveBackoff, LifeTables, TableKey, task_schedule
from toapis_async._schedule.backoff import TaskSchedule
from toapis_async._schedule.pacer import Pacer


class Ours:
    """A session of the package: one set of life tables, one pacer for all its questions."""

    def __init__(self, poll: AdaptiveBackoff, random: Random, limits: RateLimits | None = None) -> None:
        limits = limits or RateLimits()
        self.pacer: Final = Pacer(limits.query_per_second, limits.query_burst)
        self.tables: Final = LifeTables()
        self.poll: Final = poll
        self.random: Final = random

    def watch(self, task: Task) -> OurWatch:
        # An attached id tells no model before the first answer.
        key = TableKey(task.key.kind, "") if task.attached else task.key
        schedule = task_schedule(self.poll, self.tables, key, joined=task.attached)
        return OurWatch(self, schedule, task)

    def learn(self, key: TableKey, durations: list[float]) -> None:
        """Take note of tasks of an earlier day, each seen from its beginning to its end."""
        for duration in durations:
            task_schedule(self.poll, self.tables, key).finished(duration + 1, _moment(0), _moment(round(duration)))


class OurWatch:
    """Waits run from sending to sending; ages count from acceptance, for attached tasks by the service's times."""

    def __init__(self, session: Ours, schedule: TaskSchedule, task: Task) -> None:
        self._session = session
        self._schedule = schedule
        self._since = task.arrives
        self._born = None if task.attached else task.arrives
        self._deadline = task.arrives + schedule.deadline
        self.due = task.arrives
        if not task.attached:
            self._postpone(task.arrives + schedule.first_wait(session.random.random))

    def _postpone(self, until: float) -> None:
        self.due = min(until, self._deadline)

    def _age(self, moment: float) -> float:
        return max(0.0, moment - (self._since if self._born is None else self._born))

    def _get_to_know(self, answer: Answer, sent_at: float) -> None:
        if self._born is None:
            self._schedule.is_of(answer.model)
            self._born = min(self._since, sent_at - max(0, answer.now - answer.created_at))

    def begin(self, sent_at: float) -> None:
        self._schedule.late(sent_at - self.due)

    def pending(self, answer: Answer, sent_at: float, now: float) -> bool:
        self._session.pacer.answered()
        self._get_to_know(answer, sent_at)
        return self._go_on(sent_at, now, pending=True)

    def refused(self, sent_at: float, now: float) -> bool:
        jitter = self._session.random.random()
        self._session.pacer.throttled(now, sent_at=sent_at, retry_after=RETRY_AFTER, jitter=jitter)
        return self._go_on(sent_at, now, pending=False)

    def _go_on(self, sent_at: float, now: float, *, pending: bool) -> bool:
        wait = self._schedule.next_wait(self._age(sent_at), self._session.random.random, pending=pending)
        self._postpone(max(now, sent_at + wait))
        return now < self._deadline

    def finished(self, answer: Answer, sent_at: float, now: float) -> None:
        self._session.pacer.answered()
        self._get_to_know(answer, sent_at)
        completed_at = None if answer.completed_at is None else _moment(answer.completed_at)
        self._schedule.finished(self._age(now), _moment(answer.created_at), completed_at)


class PeerClient:
    """A peer sleeps after each answer, and knows of no other task."""

    def __init__(self, peer: Peer, random: Random) -> None:
        self.pacer: Final = None
        self.peer: Final = peer
        self.random: Final = random

    def watch(self, task: Task) -> PeerWatch:
        return PeerWatch(self, task)


class PeerWatch:
    def __init__(self, client: PeerClient, task: Task) -> None:
        self._wait = client.peer.wait(task.key.kind)
        self._retry = client.peer.retry
        self._random = client.random
        self._since = task.arrives
        self._looks = self._refusals = 0
        self.due = task.arrives + self._wait(0, 0.0, self._random)

    def begin(self, sent_at: float) -> None:
        """Ask; nothing is learned from being late."""

    def pending(self, answer: Answer, sent_at: float, now: float) -> bool:
        self._looks += 1
        self._refusals = 0
        self.due = now + self._wait(self._looks, now - self._since, self._random)
        return True

    def refused(self, sent_at: float, now: float) -> bool:
        self._refusals += 1
        pause = self._retry(self._refusals, RETRY_AFTER, self._random)
        self.due = now + (pause or 0.0)
        return pause is not None

    def finished(self, answer: Answer, sent_at: float, now: float) -> None:
        """Forget it."""


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
