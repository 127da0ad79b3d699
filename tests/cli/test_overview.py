"""`toapis status --journal`: counts and what is unfinished, from the file alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from toapis_async.testing import faults

from .conftest import Serve, Toapis


def test_one_object_has_the_counts_and_everything_unfinished(
    toapis: Toapis, serve: Serve, quick: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(deadline=0.3)
    simulator = serve(faults=[faults.never_finishes(match="slow"), faults.error(402, "empty", kind="submit", nth=4)])
    Path("in.csv").write_text("key,prompt\nfox,a fox\nbad,[[fail]]\nslow,a slow owl\nlate,a late crab\n")
    assert toapis("generate", "--from", "in.csv", "--max-in-flight", 1).code == 3
    monkeypatch.delenv("TOAPIS_API_KEY")
    for options in ([], ["--json"]):
        ended = toapis("status", "--journal", "out/toapis-journal.db", *options)
        assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)
    record = json.loads(ended.out)
    slow, late = record.pop("unfinished")
    assert record == {
        "journal": "out/toapis-journal.db",
        "base_url": simulator.base_url,
        "total": 4,
        "counts": {"queued": 1, "posting": 0, "submitted": 1, "unresolved": 0, "completed": 1, "failed": 1},
    }
    charge = next(charge for charge in simulator.charges if charge.prompt == "a slow owl")
    since = datetime.fromisoformat(slow.pop("since"))
    assert timedelta(0) <= datetime.now(UTC) - since < timedelta(minutes=5)
    assert slow == {
        "key": "slow",
        "state": "submitted",
        "task_id": charge.task_id,
        "client_business_id": charge.client_business_id,
        "prompt": "a slow owl",
        "model": "grok-4-1-image",
    }
    assert (late["key"], late["state"], late["task_id"]) == ("late", "queued", None)
    assert len(simulator.requests) > 0


@pytest.mark.parametrize("extra", [["tsk_1"], ["--base-url", "http://127.0.0.1:1"]])
def test_what_asks_the_service_does_not_go_with_a_journal(toapis: Toapis, extra: list[str]) -> None:
    ended = toapis("status", "--journal", "j.db", *extra)
    assert (ended.code, ended.err) == (2, "toapis: --journal asks nobody: it excludes ids and --base-url\n")
