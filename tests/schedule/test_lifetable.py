"""The life table counts what it should, says what the reference says, forgets, and survives being stored."""

from __future__ import annotations

import json
import math
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toapis_async._schedule.lifetable import LifeTable

EDGES = [0.5 * 1.2**i for i in range(51)]
CLOSE = 1e-9

ages = st.one_of(st.just(0.0), st.floats(-3.0, 4.0).map(lambda x: 10**x), st.sampled_from(EDGES))
calls = st.lists(st.tuples(st.sampled_from(["pending", "finished"]), ages, ages), max_size=60)
typicals = st.floats(-1.0, 3.5).map(lambda x: 10**x)


def apply(table: LifeTable, call: tuple[str, float, float]) -> None:
    kind, low, high = call
    (table.note_pending if kind == "pending" else table.note_finished)(low, high)


def table_after(*made: tuple[str, float, float], typical: float = 15.0) -> LifeTable:
    table = LifeTable(typical)
    for call in made:
        apply(table, call)
    return table


def seen(*durations: float) -> LifeTable:
    return table_after(*(call for x in durations for call in [("pending", 0.0, x * 0.9), ("finished", x * 0.9, x)]))


def at_risk(low: float, high: float) -> float:
    """Return the log-ages between two ages that the bins cover."""
    return max(math.log(min(high, EDGES[-1]) / max(low, EDGES[0])), 0.0) if high > 0 else 0.0


def check_counts(table: LifeTable, other: Any) -> None:
    data = table.to_data()
    assert data["finished"] == pytest.approx([x / other.w for x in other.D], rel=CLOSE, abs=CLOSE)
    assert data["exposure"] == pytest.approx([x / other.w for x in other.E], rel=CLOSE, abs=CLOSE)
    assert table.hazard() == pytest.approx(other.hazard(), rel=CLOSE)


@given(typicals, st.floats(1, 40), calls, st.lists(st.tuples(ages, st.floats(0.1, 5)), min_size=1, max_size=3))
def test_the_table_agrees_with_the_reference(
    reference: dict[str, Any],
    typical: float,
    polls: float,
    made: list[tuple[str, float, float]],
    looks: list[tuple[float, float]],
) -> None:
    table, other = LifeTable(typical), reference["LifeTable"](typical)
    for call in [*made, None]:
        assert table.plan(polls) == pytest.approx(other.plan(polls), rel=CLOSE)
        assert table.overdue == pytest.approx(other.overdue, rel=CLOSE)
        for age, step in looks:
            assert table.next_age(age, polls, step) == pytest.approx(other.next_age(age, polls, step), rel=CLOSE)
        if call is not None:
            apply(table, call)
            (other.pending if call[0] == "pending" else other.finished)(*call[1:])
            check_counts(table, other)


def test_a_long_session_agrees_with_the_reference(reference: dict[str, Any]) -> None:
    table, other, chance = LifeTable(15.0), reference["LifeTable"](15.0), random.Random(7)
    for number in range(2000):
        end = chance.lognormvariate(3, 0.5)
        for note_pending, note_finished in [(table.note_pending, table.note_finished), (other.pending, other.finished)]:
            note_pending(0.0, end * 0.8)
            note_finished(end * 0.8, end * 1.1)
        if number % 50 == 0:
            check_counts(table, other)
        if number < 500:  # from where the table no longer lets its plan grow old
            assert table.next_age(10.0, 8) == pytest.approx(other.next_age(10.0, 8), rel=CLOSE)


SHORT_HISTORY = [
    ("pending", 0.0, 4.0), ("pending", 4.0, 9.0), ("finished", 9.0, 13.0),
    ("pending", 0.0, 20.0), ("finished", 0.0, 5.0), ("finished", 30.0, 31.5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "hazard", "looks", "overdue", "next_ages"),
    [
        (
            LifeTable(15.0),
            [0.004414581054520829, 0.11414230102960696, 0.7371609817032841, 1.420966452240293, 0.02626220168927325],
            [0.012855384269678655, 0.5228133424713424, 3.076415345913043, 8.713231781000502, 82.15124990353874],
            246.111762147601,
            [4.818371995944303, 8.124481470923413, 14.834435687856747, 64.3451695154569],
        ),
        (
            LifeTable(120.0),
            [
                0.00010091119608505059,
                0.002773062083471151,
                0.027840833554223638,
                0.13713718608743156,
                0.20977173374894909,
            ],
            [0.0007262807889083595, 0.029877953810232588, 0.1924515914709018, 0.6935966622672316, 53.96615708720929],
            2194.3571928052984,
            [35.93249774972173, 37.53241795464675, 41.47210507128806, 82.22098631950175],
        ),
        (
            table_after(*SHORT_HISTORY),
            [0.08601552141874105, 0.2532344381896171, 1.2335046377108365, 10.48328490075695, 0.026262201689273252],
            [0.08264437427627465, 1.4122585056045973, 5.25990661426329, 14.378190556707713, 129.2548644756545],
            33.123686334746154,
            [2.3465416798419376, 7.946014453472867, 13.59283230136779, 62.98347330786682],
        ),
    ],
    ids=["pictures", "videos", "taught"],
)
def test_golden_values_of_the_reference(
    table: LifeTable, hazard: list[float], looks: list[float], overdue: float, next_ages: list[float]
) -> None:
    assert [table.hazard()[i] for i in (0, 10, 17, 22, 49)] == pytest.approx(hazard, rel=CLOSE)
    assert [table.plan(8)[i] for i in (1, 10, 17, 22, 50)] == pytest.approx(looks, rel=CLOSE)
    assert table.overdue == pytest.approx(overdue, rel=CLOSE)
    assert [table.next_age(age, 8) for age in (0.0, 5.0, 12.0, 60.0)] == pytest.approx(next_ages, rel=CLOSE)


def test_nothing_is_lost_between_the_bins() -> None:
    data = table_after(("finished", 3.0, 400.0)).to_data()
    assert sum(data["finished"]) == pytest.approx(0.97)
    assert sum(x > 0 for x in data["finished"]) > 20


@given(ages, ages)
def test_the_time_at_risk_of_a_running_task_is_conserved(since: float, until: float) -> None:
    data = table_after(("pending", since, until)).to_data()
    assert sum(data["exposure"]) == pytest.approx(at_risk(since, until), abs=CLOSE)
    assert sum(data["finished"]) == 0
    whole = table_after(("pending", 0.0, since), ("pending", since, max(since, until))).to_data()
    assert whole["exposure"] == pytest.approx(table_after(("pending", 0.0, max(since, until))).to_data()["exposure"])


@given(ages, ages)
def test_each_task_finishes_once_within_its_interval(after: float, by: float) -> None:
    data = table_after(("finished", after, by)).to_data()
    finished, exposure = sum(data["finished"]) / 0.97, sum(data["exposure"]) / 0.97
    assert -CLOSE <= finished <= 1 + CLOSE
    if by * 1.001 <= EDGES[-1]:
        assert finished == pytest.approx(1)
    low, high = min(after, by - 0.001), max(by, 0.3)
    assert -CLOSE <= exposure <= at_risk(max(low, 0.25), high * 1.002) + CLOSE
    for i, count in enumerate(data["finished"]):
        assert count == 0 or (EDGES[i + 1] >= min(low, high) and (i == 0 or EDGES[i] <= high * 1.002))


@given(typicals, calls, st.floats(1, 40))
def test_more_looks_are_due_at_a_higher_age(typical: float, made: list[tuple[str, float, float]], polls: float) -> None:
    table = table_after(*made, typical=typical)
    looks = table.plan(polls)
    assert looks[0] == 0
    assert all(low < high < math.inf for low, high in pairwise(looks))
    nexts = [table.next_age(age, polls) for age in [0.0, *EDGES, 10_000.0]]
    assert all(age < later for age, later in zip([0.0, *EDGES, 10_000.0], nexts, strict=True))
    assert nexts == sorted(nexts)


def test_a_running_task_lowers_the_hazard_of_the_ages_it_has_passed() -> None:
    before, after = LifeTable(15.0).hazard(), table_after(("pending", 0.0, 60.0)).hazard()
    passed = [i for i in range(50) if EDGES[i + 1] <= 60]
    assert all(after[i] < before[i] for i in passed)


def test_twenty_tasks_later_half_of_the_evidence_counts() -> None:
    table = table_after(("finished", 99.0, 100.0))
    for _ in range(23):
        table.note_finished(9.0, 10.0)
    counts = table.to_data()["finished"]
    old = sum(count for i, count in enumerate(counts) if EDGES[i] > 50)
    assert old == pytest.approx(0.97**24)
    assert 0.45 < old < 0.5


def test_counts_stay_finite_over_a_hundred_thousand_tasks() -> None:
    table = LifeTable(15.0)
    for _ in range(100_000):
        table.note_finished(9.0, 10.0)
    assert sum(table.to_data()["finished"]) == pytest.approx(0.97 / 0.03)


def test_a_long_session_still_notices_that_tasks_take_longer() -> None:
    table = seen(*[10.0] * 5000)
    assert table.overdue < 15
    for _ in range(60):
        table.note_pending(0.0, 90.0)
        table.note_finished(90.0, 100.0)
        table.plan(8)
    assert table.overdue > 90


def test_what_is_stored_comes_back_the_same() -> None:
    table = seen(12.0, 18.5, 15.0, 33.0)
    again = LifeTable.from_data(json.loads(json.dumps(table.to_data())))
    assert again.plan(8) == pytest.approx(table.plan(8), rel=1e-12)
    for each in (table, again):
        each.note_finished(14.0, 16.0)
    assert again.to_data()["finished"] == pytest.approx(table.to_data()["finished"], rel=1e-12)
    assert again.hazard() == pytest.approx(table.hazard(), rel=1e-12)


@pytest.mark.parametrize(
    "changed",
    [
        {"typical": 0},
        {"typical": math.nan},
        {"evidence": "1"},
        {"finished": [0.0] * 49},
        {"finished": None},
        {"exposure": [-1.0] * 50},
        {"exposure": [math.inf] * 50},
        {"exposure": ["0"] * 50},
    ],
)
def test_what_is_no_life_table_is_refused(changed: dict[str, Any]) -> None:
    good = seen(10.0).to_data()
    with pytest.raises(ValueError, match="not a life table"):
        LifeTable.from_data({**good, **changed})
    for name in changed:
        with pytest.raises(ValueError, match="not a life table"):
            LifeTable.from_data({key: value for key, value in good.items() if key != name})
