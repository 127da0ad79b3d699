"""The goals of the schedule, judged in virtual time. `python -m benchmarks.polling` prints what they are made of."""

from __future__ import annotations

from benchmarks.polling.goals import goals
from benchmarks.polling.results import collect
from benchmarks.table import Report, Row


def run(*, quick: bool) -> Report:
    judged = goals(collect(quick=quick))
    holding = sum(not any(part.excess for part in goal.parts) for goal in judged)
    return Report([Row(f"goals that hold, of {len(judged)}", [holding], "")], [str(goal) for goal in judged])
