"""The tables of a session: tasks alike share one, their number is bounded, and they survive being stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toapis_async import ImageRequest
from toapis_async._schedule.adaptive import AdaptiveBackoff, LifeTables, TableKey, task_schedule
from toapis_async._schedule.lifetable import LifeTable

KEY = TableKey("image", "m")
TABLE: Any = LifeTable(15.0).to_data()
NOTHING_OF_OURS: list[Any] = [
    None,
    5,
    {"a": 1},
    [[]],
    [[["image"], TABLE]],
    [[["image", 5], TABLE]],
    [[["image", "m", "1"], TABLE]],
    [[["image", "m", [1]], TABLE]],
    [[["image", "m", 1, 2], TABLE]],
    [[["image", "m"], {}]],
    [[["image", "m"], None]],
]


def key(number: int) -> TableKey:
    return TableKey("image", str(number))


def taught(*keys: TableKey) -> LifeTables:
    tables = LifeTables()
    for each in keys:
        tables.table(each).note_finished(9.0, 10.0)
    return tables


def test_tasks_alike_in_what_costs_time_share_a_key() -> None:
    plain = TableKey.of("image", ImageRequest("a fox", model="m"))
    assert plain == TableKey.of("image", ImageRequest("an owl", model="m", n=1, size="16:9")) == KEY
    others = [
        ImageRequest("a fox", model="m2"),
        ImageRequest("a fox", model="m", n=4),
        ImageRequest("a fox", model="m", extra={"resolution": "2k"}),
        ImageRequest("a fox", model="m", metadata={"resolution": "4K"}),
        ImageRequest("a fox", model="m", extra={"duration": 8}),
    ]
    assert len({plain, *(TableKey.of("image", request) for request in others)}) == 6


def test_a_resolution_is_the_same_wherever_and_however_it_is_written() -> None:
    top = ImageRequest("a fox", extra={"resolution": "2K"})
    inside = ImageRequest("a fox", metadata={"resolution": "2k"})
    assert TableKey.of("image", top) == TableKey.of("image", inside)


def test_nonsense_for_a_resolution_makes_a_short_key() -> None:
    made = TableKey.of("image", ImageRequest("a fox", extra={"resolution": ["x" * 1000]}))
    assert len(made.resolution or "") == 64
    assert LifeTables().table(made)


def test_one_key_has_one_table() -> None:
    tables = LifeTables()
    assert tables.table(KEY) is tables.table(TableKey("image", "m"))
    assert tables.table(KEY) is not tables.table(TableKey("image", "m", 4))


@pytest.mark.parametrize(("kind", "typical"), [("image", 15.0), ("video", 120.0), ("other", 15.0)])
def test_what_is_typical_depends_on_the_kind(kind: str, typical: float) -> None:
    assert LifeTables().table(TableKey(kind, "m")).hazard() == LifeTable(typical).hazard()


def test_a_hint_counts_for_a_model_that_is_known_already() -> None:
    tables = taught(KEY)
    before = tables.table(KEY).plan(8)
    task_schedule(AdaptiveBackoff(), tables, KEY)
    assert tables.table(KEY).plan(8) == before
    task_schedule(AdaptiveBackoff(typical=60), tables, KEY)
    hinted = LifeTable(60.0)
    hinted.note_finished(9.0, 10.0)
    assert tables.table(KEY).plan(8) == hinted.plan(8) != before
    assert tables.table(KEY, 60.0).plan(8) == hinted.plan(8)


def test_of_too_many_tables_the_one_not_used_for_the_longest_is_forgotten() -> None:
    tables = LifeTables(most=3)
    for number in (1, 2, 3, 1, 4):
        tables.table(key(number)).note_pending(0.0, 10.0)
    assert [name[1] for name, _ in tables.to_data()] == ["3", "1", "4"]


def test_tables_come_back_from_json() -> None:
    tables = taught(key(1), TableKey("video", "v", 2, "1080p", "8"))
    again = LifeTables()
    again.restore(json.loads(json.dumps(tables.to_data())))
    assert again.to_data() == tables.to_data()


def test_what_the_session_has_learned_itself_is_kept() -> None:
    tables = taught(key(1))
    own = tables.table(key(1))
    own.note_finished(50.0, 60.0)
    tables.restore(taught(key(1), key(2)).to_data())
    assert tables.table(key(1)) is own
    assert tables.table(key(2)).to_data() == taught(key(2)).table(key(2)).to_data()


def test_restored_tables_are_bounded_too() -> None:
    tables = LifeTables(most=3)
    tables.table(key(9))
    tables.restore(taught(key(9), key(1), key(2), key(3)).to_data())
    assert [name[1] for name, _ in tables.to_data()] == ["2", "3", "9"]


@pytest.mark.parametrize("data", NOTHING_OF_OURS)
def test_of_what_is_not_ours_nothing_is_taken_over(data: Any) -> None:
    tables = LifeTables()
    good = taught(key(1)).to_data()
    with pytest.raises(ValueError, match=r"."):
        tables.restore([*good, *data] if isinstance(data, list) else data)
    assert tables.to_data() == []
