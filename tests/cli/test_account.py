"""The last lines of a run."""

from __future__ import annotations

import pytest

from toapis_async import ImageRequest, JobState
from toapis_async.cli.account import Account, Loose


def left_behind(state: JobState, task_id: str | None) -> Loose:
    return Loose(
        key="0",
        request=ImageRequest("a fox that runs through the snow"),
        task_id=task_id,
        client_business_id="mine",
        state=state,
        task=None,
    )


def test_an_early_end_names_what_may_be_paid_for_by_the_best_id_there_is() -> None:
    account = Account(total=5, saved=1, failed=1)
    account.leave(left_behind(JobState.SUBMITTED, "tsk_1"))
    account.leave(left_behind(JobState.POSTING, None))
    assert list(account.lines(command="toapis status")) == [
        "2 tasks may be paid for, but their pictures are not here.",
        "What still runs goes on at the service; look with:",
        "  toapis status tsk_1  # running: a fox that runs through…",
        "  toapis status mine  # perhaps accepted: a fox that runs through…",
    ]
    assert account.summary(out="out", time="0:07") == "1 of 5 saved in out, 1 failed, 2 unfinished, 1 not sent; 0:07"


@pytest.mark.parametrize(("count", "tasks"), [(1, "1 task"), (2, "2 tasks")])
def test_tasks_of_a_simulator_end_with_it_and_nobody_pays_for_them(count: int, tasks: str) -> None:
    account = Account(total=count)
    for _ in range(count):
        account.leave(left_behind(JobState.SUBMITTED, "tsk_1"))
    first, *ids = account.lines(command=None)
    assert first == f"The simulator ended with {tasks} unfinished:"
    assert ids == ["  tsk_1  # running: a fox that runs through…"] * count
    assert account.summary(out="out", time="0:07") == f"0 of {count} saved in out, {count} unfinished; 0:07"
