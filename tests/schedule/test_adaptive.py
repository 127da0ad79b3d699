"""Whatever was learned, and whatever the service's clock says: few looks, none too early, none much too late."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toapis_async import Backoff
from toapis_async._schedule.adaptive import AdaptiveBackoff, LifeTables, TableKey, task_schedule
from toapis_async._schedule.lifetable import LifeTable

KEY = TableKey("image", "m")
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
EDGES = [0.5 * 1.2**i for i in range(51)]

durations = st.floats(-1.0, 3.2).map(lambda x: 10**x)
lies = st.one_of(st.none(), st.just(math.nan), st.floats(-1e9, 1e9), st.floats(-10, 2000))
histories = st.lists(st.tuples(durations, lies), max_size=25)
chances = st.integers(0, 2**32).map(random.Random)
budgets = st.floats(6, 40)


def middle() -> float:
    return 0.5


def seconds_told(duration: float, told: float) -> float:
    return round(duration if math.isnan(told) else told, 3)


class Service:
    """Tasks that take a while, each told to a schedule that looks at it until it has finished."""

    def __init__(self, backoff: AdaptiveBackoff, chance: Callable[[], float] = middle) -> None:
        self.backoff = backoff
        self.chance = chance
        self.tables = LifeTables()

    def task(self, duration: float, told: float | None = math.nan) -> list[float]:
        """Return the ages at which one task was looked at; `told` is its duration by the service's clock."""
        schedule = task_schedule(self.backoff, self.tables, KEY)
        ages = [schedule.first_wait(self.chance)]
        while ages[-1] < duration:
            ages.append(ages[-1] + schedule.next_wait(ages[-1], self.chance))
        if told is None:
            schedule.finished(ages[-1], None, CREATED)
        else:
            schedule.finished(ages[-1], CREATED, CREATED + timedelta(seconds=seconds_told(duration, told)))
        return ages


def waits_between(ages: list[float]) -> list[float]:
    return [later - age for age, later in pairwise([0.0, *ages])]


@given(histories, st.floats(1, 40), st.floats(0.05, 5), st.integers(0, 2**32))
def test_the_waits_agree_with_the_reference(
    reference: dict[str, Any],
    history: list[tuple[float, float | None]],
    polls: float,
    min_interval: float,
    seed: int,
) -> None:
    chance, other_chance = random.Random(seed), random.Random(seed)
    service = Service(AdaptiveBackoff(polls=polls, min_interval=min_interval), chance.random)
    other = reference["Adaptive"](polls=polls, floor=min_interval)
    other.rng = other_chance
    for number, (duration, told) in enumerate(history):
        ages = service.task(duration, told)
        assert ages[0] == pytest.approx(other.first(number, KEY, 0.0), rel=1e-9)
        for age, later in pairwise(ages):
            assert later - age == pytest.approx(other.pending(number, KEY, age), rel=1e-9)
        other.done(number, KEY, ages[-1], None if told is None else seconds_told(duration, told))


@given(histories, budgets, st.floats(0.05, 10), chances)
def test_no_task_is_noticed_much_too_late(
    history: list[tuple[float, float | None]], polls: float, min_interval: float, chance: random.Random
) -> None:
    service = Service(AdaptiveBackoff(polls=polls, min_interval=min_interval), chance.random)
    for duration, told in history:
        ages = service.task(duration, told)
        assert ages[-1] <= max(6.0, 4.3 * duration) + min_interval + 1e-9
        assert ages[-1] <= duration + 60 + 1e-9


@given(histories, st.floats(1, 40), st.floats(0.05, 60), chances)
def test_no_wait_is_shorter_than_the_interval_or_longer_than_a_minute(
    history: list[tuple[float, float | None]], polls: float, min_interval: float, chance: random.Random
) -> None:
    service = Service(AdaptiveBackoff(polls=polls, min_interval=min_interval), chance.random)
    for duration, told in history:
        assert all(min_interval - 1e-9 <= wait <= 60 + 1e-9 for wait in waits_between(service.task(duration, told)))


@given(histories, budgets, st.floats(0.05, 10), chances)
def test_no_task_costs_more_looks_than_the_logarithm_of_its_age(
    history: list[tuple[float, float | None]], polls: float, min_interval: float, chance: random.Random
) -> None:
    service = Service(AdaptiveBackoff(polls=polls, min_interval=min_interval), chance.random)
    for duration, told in history:
        ages = service.task(duration, told)
        slowest = math.log(max(duration / ages[0], 1)) / math.log1p(0.02 * 0.9) + duration / 60
        assert len(ages) <= 3 + min(slowest, duration / min_interval)


@given(histories, budgets, st.floats(0.05, 10), durations, chances)
def test_a_task_that_takes_very_long_costs_few_looks_beyond_the_plan(
    history: list[tuple[float, float | None]],
    polls: float,
    min_interval: float,
    duration: float,
    chance: random.Random,
) -> None:
    backoff = AdaptiveBackoff(polls=polls, min_interval=min_interval)
    service = Service(backoff, chance.random)
    for known, told in history:
        service.task(known, told)
    table = service.tables.table(KEY)
    looks, age = 1, backoff.first_wait(table, chance.random)
    while age < duration:
        age += backoff.next_wait(table, age, chance.random)
        looks += 1
    usual = min(duration, table.overdue)
    i = max(i for i in range(50) if EDGES[i] <= max(usual, 0.5))
    share = max(usual - EDGES[i], 0) / (EDGES[i + 1] - EDGES[i])
    planned = table.plan(polls)[i] + (table.plan(polls)[i + 1] - table.plan(polls)[i]) * share
    beyond = math.log(max(duration / table.overdue, 1)) / math.log(1.09)
    assert looks <= planned + 2 + beyond + duration / 60


@pytest.mark.parametrize("typical", [None, 0.1, 1, 5, 60, 600, 3600])
@pytest.mark.parametrize("min_interval", [0.01, 0.5, 2])
def test_without_history_it_is_an_exponential_backoff(typical: float | None, min_interval: float) -> None:
    backoff = AdaptiveBackoff(typical=typical, min_interval=min_interval)
    schedule = task_schedule(backoff, LifeTables(), KEY)
    ages = [schedule.first_wait(middle)]
    while ages[-1] < 1800:
        ages.append(ages[-1] + schedule.next_wait(ages[-1], middle, pending=False))
    waits = waits_between(ages)
    assert all(later <= max(4 * wait, min_interval) for wait, later in pairwise(waits))
    assert all(later <= max(4 * age, age + min_interval) for age, later in pairwise(ages))


@pytest.mark.parametrize("duration", [8.0, 10.0, 20.0, 40.0, 70.0, 120.0])
@pytest.mark.parametrize("told", [math.nan, None], ids=["told when it finished", "told nothing"])
def test_after_twenty_equal_tasks_half_of_the_looks_are_near_their_end(duration: float, told: float | None) -> None:
    service = Service(AdaptiveBackoff(), random.Random(1).random)
    for _ in range(20):
        service.task(duration, told)
    ages = [age for _ in range(20) for age in service.task(duration, told)]
    assert sum(0.8 * duration <= age <= 1.2 * duration for age in ages) >= len(ages) / 2


@pytest.mark.parametrize("median", [8, 18, 68, 120])
@pytest.mark.parametrize("polls", [6, 8, 14])
def test_a_task_costs_about_as_many_looks_as_were_asked_for(median: float, polls: float) -> None:
    chance = random.Random(5)
    service = Service(AdaptiveBackoff(polls=polls, min_interval=0.1), chance.random)
    looks = [len(service.task(chance.lognormvariate(math.log(median), 0.35))) for _ in range(150)]
    assert 0.75 <= sum(looks[30:]) / 120 / polls <= 1.25


def test_a_task_that_takes_longer_than_nearly_all_is_looked_at_less_often() -> None:
    service = Service(AdaptiveBackoff(polls=40, min_interval=0.1))
    for _ in range(20):
        service.task(10.0)
    table = service.tables.table(KEY)
    for age in (0.99 * table.overdue, 1.01 * table.overdue, 100.0):
        planned = table.next_age(age, 40) - age
        least = (0.1 if age > table.overdue else 0.02) * age
        assert service.backoff.next_wait(table, age, middle) == pytest.approx(max(planned, least))
        assert planned < least


def test_the_looks_at_tasks_that_began_together_spread() -> None:
    backoff, table = AdaptiveBackoff(), LifeTable(15.0)
    chance = random.Random(3).random
    firsts = {backoff.first_wait(table, chance) for _ in range(100)}
    nexts = [backoff.next_wait(table, 20.0, chance) for _ in range(100)]
    assert len(firsts) > 90
    assert max(nexts) / min(nexts) > 1.15


@pytest.mark.parametrize("told", [-50.0, 0.0, 5e8, 45.0])
def test_a_duration_that_cannot_be_is_ignored(told: float) -> None:
    plain, lied = Service(AdaptiveBackoff()), Service(AdaptiveBackoff())
    assert plain.task(20.0, None) == lied.task(20.0, told)
    assert plain.tables.to_data() == lied.tables.to_data()


def test_the_services_own_times_narrow_down_when_a_task_finished() -> None:
    exact, vague = LifeTables(), LifeTables()
    for tables, end in [(exact, CREATED + timedelta(seconds=50)), (vague, None)]:
        schedule = task_schedule(AdaptiveBackoff(), tables, KEY)
        schedule.next_wait(30.0, middle)
        schedule.finished(90.0, CREATED, end)
    expected = LifeTable(15.0)
    expected.note_pending(0.0, 30.0)
    expected.note_pending(30.0, 49.0)
    expected.note_finished(49.0, 51.0)
    assert exact.table(KEY).to_data() == expected.to_data()
    bins = [sum(x > 0 for x in tables.table(KEY).to_data()["finished"]) for tables in (exact, vague)]
    assert bins[0] <= 2 < 6 <= bins[1]


def test_running_tasks_teach_before_any_has_finished() -> None:
    tables = LifeTables()
    backoff = AdaptiveBackoff()
    fresh = backoff.next_wait(tables.table(KEY), 12.0, middle)
    for _ in range(20):
        task_schedule(backoff, tables, KEY).next_wait(60.0, middle)
    assert backoff.next_wait(tables.table(KEY), 12.0, middle) > 2 * fresh


def test_a_look_that_showed_nothing_teaches_nothing() -> None:
    tables = LifeTables()
    before = tables.table(KEY).to_data()
    schedule = task_schedule(AdaptiveBackoff(), tables, KEY)
    assert schedule.next_wait(60.0, middle, pending=False) > 0
    assert tables.table(KEY).to_data() == before
    schedule.next_wait(60.0, middle)
    learned = tables.table(KEY).to_data()
    assert learned != before
    schedule.next_wait(60.0, middle)  # the same moment again
    assert tables.table(KEY).to_data() == learned


def test_a_task_looked_at_before_it_has_an_age_waits_as_if_it_began() -> None:
    backoff, table = AdaptiveBackoff(typical=600), LifeTable(600.0)
    assert backoff.next_wait(table, 0.0, middle) == backoff.first_wait(table, middle) <= 6


def test_steps_grow_while_looks_queue_up_and_shrink_back() -> None:
    tables = LifeTables()
    schedule = task_schedule(AdaptiveBackoff(), tables, KEY)
    usual = schedule.next_wait(12.0, middle, pending=False)
    for _ in range(100):
        schedule.late(10.0)
    assert tables.stretch > 3
    assert schedule.next_wait(12.0, middle, pending=False) > 2 * usual
    for _ in range(1000):
        schedule.late(0.0)
    assert schedule.next_wait(12.0, middle, pending=False) == pytest.approx(usual)


def test_a_plain_backoff_is_used_in_the_same_way() -> None:
    tables = LifeTables()
    backoff = Backoff(initial=2, factor=1.5, maximum=6)
    schedule = task_schedule(backoff, tables, KEY)
    schedule.late(100.0)
    waits = [schedule.first_wait(middle), *(schedule.next_wait(age, middle) for age in (2.0, 5.0, 9.5, 15.5))]
    assert waits == [backoff.wait(number, middle) for number in range(5)] == [2.0, 3.0, 4.5, 6.0, 6.0]
    schedule.finished(15.5, CREATED, CREATED)
    assert tables.to_data() == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdaptiveBackoff(polls=0.5), "AdaptiveBackoff.polls: 0.5"),
        (lambda: AdaptiveBackoff(polls=math.inf), "AdaptiveBackoff.polls"),
        (lambda: AdaptiveBackoff(min_interval=0), "AdaptiveBackoff.min_interval"),
        (lambda: AdaptiveBackoff(min_interval=61), "'min_interval' must be <= 60"),
        (lambda: AdaptiveBackoff(typical=0), "AdaptiveBackoff.typical"),
        (lambda: AdaptiveBackoff(typical=math.nan), "AdaptiveBackoff.typical"),
        (lambda: AdaptiveBackoff(typical=timedelta(hours=2)), "'typical' must be <= 3600"),
        (lambda: AdaptiveBackoff(deadline=-1), "AdaptiveBackoff.deadline"),
    ],
)
def test_impossible_values_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_times_may_be_timedeltas() -> None:
    backoff = AdaptiveBackoff(min_interval=timedelta(seconds=5), typical=timedelta(minutes=1), deadline=timedelta(1))
    assert (backoff.min_interval, backoff.typical, backoff.deadline) == (5.0, 60.0, 86_400.0)
