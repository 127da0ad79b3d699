"""`toapis fetch`: pictures of tasks that exist already."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from toapis_async.testing import faults

from .conftest import Serve, Toapis, pictures


@pytest.mark.usefixtures("quick")
def test_pictures_are_fetched_once_by_either_id(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    assert toapis("generate", "a fox", "an owl", "--n", 2, "--out", "first").code == 0
    fox, owl = simulator.charges
    for _ in range(2):
        ended = toapis("fetch", fox.task_id, owl.client_business_id, fox.task_id, "--out", "second")
        assert ended.code == 0
        names = sorted(f"{charge.task_id}-{index}.png" for charge in (fox, owl) for index in range(2))
        assert sorted(Path(line) for line in ended.out.splitlines()) == [Path("second", name) for name in names]
        assert sorted(path.name for path in pictures("second")) == names
    assert sum(request.kind == "file" for request in simulator.requests) == 8
    assert toapis("fetch", fox.task_id, "--out", "second", "--overwrite").code == 0
    assert sum(request.kind == "file" for request in simulator.requests) == 10
    assert len(simulator.charges) == 2


def test_what_still_runs_is_told_and_can_be_waited_for(
    toapis: Toapis, serve: Serve, quick: Callable[..., None]
) -> None:
    quick(deadline=0.2)
    simulator = serve(durations=1000.0)
    toapis("generate", "a fox")
    task_id = simulator.charges[0].task_id
    ended = toapis("fetch", task_id, "--json")
    assert ended.code == 4
    assert re.fullmatch(rf"running {task_id}  there is no picture yet \((queued|in_progress)\); --wait.*\n", ended.err)
    record = json.loads(ended.out)
    assert (record["asked"], record["id"], record["files"], record["error"]) == (task_id, task_id, [], None)
    assert toapis("fetch", task_id, "--wait").code == 4
    simulator.complete(task_id)
    ended = toapis("fetch", task_id, "--wait", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["files"] == [str(Path("out", f"{task_id}-0.png"))]


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_fetched_is_told_for_each_id(toapis: Toapis, serve: Serve) -> None:
    simulator = serve(faults=[faults.fails(times=None, match="bad")])
    toapis("generate", "bad", "gone", "good", "--out", "first")
    ids = {charge.prompt: charge.task_id for charge in simulator.charges}
    simulator.expire(ids["gone"])
    ended = toapis("fetch", *ids.values(), "nobody", "--json")
    assert ended.code == 1
    found = {record["asked"]: record for record in map(json.loads, ended.out.splitlines())}
    assert found[ids["bad"]]["error"]["type"] == "GenerationFailed"
    assert found["nobody"]["error"]["type"] == "NotFoundError"
    assert found["nobody"]["id"] is None
    assert len(found[ids["good"]]["files"]) == 1
    assert found[ids["gone"]]["error"]["type"] == "ResultMissingError"
    assert sum(line.startswith("failed ") for line in ended.err.splitlines()) == 3


@pytest.mark.usefixtures("quick")
def test_a_refused_key_and_wrong_usage_have_their_codes(
    toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert toapis("fetch").code == 2
    ended = toapis("fetch", "x")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    serve()
    Path("a.file").touch()
    assert toapis("fetch", "x", "--out", "a.file").code == 2
    monkeypatch.setenv("TOAPIS_API_KEY", "sk-wrong")
    assert toapis("fetch", "x").code == 3
