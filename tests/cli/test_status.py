"""`toapis status`: the state of tasks by either of their ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toapis_async.testing import Simulator

from .conftest import Serve, Toapis


@pytest.fixture
def simulator(toapis: Toapis, serve: Serve) -> Simulator:
    """A service that has completed one task and failed another."""
    simulator = serve(limits=None)
    simulated = toapis("generate", "a fox", "[[fail]]", "--quiet", "--max-in-flight", 1)
    assert simulated.code == 1
    return simulator


@pytest.mark.usefixtures("quick")
def test_each_id_is_one_line(toapis: Toapis, simulator: Simulator) -> None:
    fox, bad = simulator.charges
    ended = toapis("status", bad.task_id, fox.client_business_id)
    assert ended.code == 0
    first, second = (line.split("\t") for line in ended.out.splitlines())
    assert first[:2] == [bad.task_id, "failed"]
    assert first[3].startswith("The generation failed: ")
    assert second[:3] == [fox.client_business_id, "completed", "100%"]
    assert second[3].startswith("http://127.0.0.1:")


@pytest.mark.usefixtures("quick")
def test_json_has_every_field_and_an_unknown_id_ends_with_1(toapis: Toapis, simulator: Simulator) -> None:
    fox, _ = simulator.charges
    ended = toapis("status", "--json", "nobody", fox.client_business_id)
    assert ended.code == 1
    unknown, known = (json.loads(line) for line in ended.out.splitlines())
    assert (unknown["asked"], unknown["id"], unknown["status"]) == ("nobody", None, None)
    assert unknown["error"]["type"] == "NotFoundError"
    assert (known["id"], known["client_business_id"]) == (fox.task_id, fox.client_business_id)
    assert (known["status"], known["raw_status"], known["progress"]) == ("completed", "completed", 100)
    assert known["created_at"] <= known["completed_at"] < known["expires_at"]
    assert known["created_at"].endswith("Z")
    assert len(known["urls"]) == 1
    assert known["error"] is None
    assert set(known["billing"]) == {"status", "credits", "cost_usd"}


@pytest.mark.usefixtures("quick")
def test_a_failed_task_is_an_answer_with_its_reason(toapis: Toapis, simulator: Simulator) -> None:
    ended = toapis("status", "--json", simulator.charges[1].task_id)
    assert ended.code == 0
    record = json.loads(ended.out)
    assert (record["status"], record["error"]["type"]) == ("failed", "GenerationFailed")


def test_a_refused_key_ends_with_3_and_no_answer_with_1(
    toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    monkeypatch.setenv("TOAPIS_API_KEY", "sk-wrong")
    assert toapis("status", "some-id").code == 3
    ended = toapis("status", "some-id", "--base-url", "http://127.0.0.1:1")
    assert ended.code == 1
    assert ended.out.startswith("some-id\tno answer\t\t")


def test_an_id_that_cannot_exist_is_told(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    ended = toapis("status", "")
    assert ended.code == 1
    assert simulator.requests == ()
    assert not Path("out").exists()
