"""`manifest.jsonl` explains a folder of pictures: a line for each job, whole or skipped."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal.conftest import open_session

from toapis_async import Completed, Failed, ImageRequest, Outcome, TimedOut, Unresolved
from toapis_async._files.manifest import NAME, Manifest, read_manifest, record_of
from toapis_async.errors import PollDeadlineExceeded, RequestValidationError, SubmissionUnknown
from toapis_async.testing import FAIL_MARKER, Simulator, faults

pytestmark = pytest.mark.anyio

HANDLE: dict[str, Any] = {"task_id": "tsk_1", "client_business_id": "mine"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # files are written by threads, which virtual time does not see


def lines(folder: Path) -> list[str]:
    return (folder / NAME).read_text(encoding="utf-8").splitlines()


async def test_a_line_says_what_a_picture_is(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(2.0, times=None))
    request = ImageRequest(
        "ein Fuchs \U0001f98a\u2028", size="16:9", n=2, metadata={"seed": 1}, images=["https://127.0.0.1/a.png"]
    )
    async with open_session(sim) as session:
        outcomes = await session.generate_many([("fox", request)], save_to=tmp_path)
    (record,) = read_manifest(tmp_path)
    task = outcomes[0].unwrap()
    assert record.pop("saved_at").endswith("Z")
    assert record == {
        "key": "fox",
        "state": "completed",
        "task_id": task.id,
        "client_business_id": outcomes[0].client_business_id,
        "kind": "image",
        "prompt": request.prompt,
        "model": "grok-4-1-image",
        "parameters": {"size": "16:9", "n": 2, "images": ["https://127.0.0.1/a.png"], "metadata": {"seed": 1}},
        "files": ["fox-0.png", "fox-1.png"],
        "error": None,
        "download_error": None,
        "created_at": f"{task.created_at:%Y-%m-%dT%H:%M:%SZ}",
        "completed_at": f"{task.completed_at:%Y-%m-%dT%H:%M:%SZ}",
        "expires_at": f"{task.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "seconds": 2.0,
        "billing": {"status": "pending", "credits": None, "cost_usd": None},
        "usage": None,
    }
    assert sim.api_key not in lines(tmp_path)[0]


async def test_every_end_has_its_line_before_the_outcome_comes(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    requests: Any = {
        "fox": ImageRequest("a fox"),
        "failed": ImageRequest(FAIL_MARKER),
        "refused": ImageRequest("[[reject]]"),
        "invalid": ImageRequest(cast(Any, 5), metadata={"a": float("nan"), "b": {1, 2}}),
        "nothing": None,
    }
    async with open_session(sim) as session, session.open_batch(requests.items(), save_to=tmp_path) as batch:
        async for outcome in batch:
            record = next(record for record in read_manifest(tmp_path) if record["key"] == outcome.key)
            assert record["state"] == outcome.state
            assert record["task_id"] == outcome.task_id
            assert (record["error"] is None) == isinstance(outcome, Completed)
    found = {record["key"]: record for record in read_manifest(tmp_path)}
    assert found.keys() == requests.keys()
    assert found["failed"]["billing"] == {"status": "refunded", "credits": "0", "cost_usd": "0"}
    assert (found["invalid"]["prompt"], found["invalid"]["parameters"]) == ("5", {})
    assert found["nothing"]["prompt"] is None


@pytest.mark.parametrize(
    "outcome",
    [
        TimedOut(key="a", request=None, error=PollDeadlineExceeded(5.0), **HANDLE),
        Unresolved(key="a", request=ImageRequest("x"), error=SubmissionUnknown("lost", not_found=True), **HANDLE),
        Failed(key="a", request=ImageRequest("x"), error=RequestValidationError(["n"]), **HANDLE),
    ],
    ids=["timed out", "unresolved", "failed"],
)
async def test_what_has_no_picture_has_its_error(outcome: Outcome, tmp_path: Path) -> None:
    Manifest(tmp_path).append(record_of(outcome, tmp_path))
    (record,) = read_manifest(tmp_path)
    assert record["state"] == outcome.state
    assert record["error"]
    assert record["task_id"] == "tsk_1"
    assert (record["prompt"], record["files"], record["seconds"]) == ("x" if outcome.request else None, [], None)


async def test_local_pictures_are_named_and_not_copied(tmp_path: Path) -> None:
    images: Any = ["https://127.0.0.1/a.png", Path("b.png"), b"c"]
    outcome = Failed(
        key="a", request=ImageRequest("x", images=images), error=RequestValidationError(["images"]), **HANDLE
    )
    first, second, third = record_of(outcome, tmp_path)["parameters"]["images"]
    assert (first, second) == ("https://127.0.0.1/a.png", "b.png")
    assert third == "sha256:2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"


async def test_what_an_earlier_run_noted_is_not_noted_again(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    journal, out = tmp_path / "fox.db", tmp_path / "out"
    requests = [ImageRequest("a fox"), ImageRequest(FAIL_MARKER)]
    async with open_session(sim) as session:
        await session.generate_many(requests, journal=journal, save_to=out)
        before = lines(out)
        for outcome in await session.generate_many(requests, journal=journal, save_to=out):
            assert outcome.replayed
        assert lines(out) == before
        (out / NAME).unlink()
        await session.generate_many(requests, journal=journal, save_to=out)
    without_time = [{**json.loads(line), "saved_at": ""} for line in before]
    again = [{**json.loads(line), "saved_at": ""} for line in lines(out)]
    assert sorted(again, key=str) == sorted(without_time, key=str)
    # Without a line nothing tells whose picture lies there: it is fetched and compared.
    assert sum(record.kind == "file" for record in sim.requests) == 2


async def test_a_manifest_that_cannot_be_written_fails_no_task(
    sim: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    (tmp_path / NAME).mkdir()
    requests = [*(ImageRequest(f"fox {number}") for number in range(3)), ImageRequest(FAIL_MARKER)]
    with caplog.at_level(logging.WARNING):
        async with open_session(sim) as session:
            outcomes = await session.generate_many(requests, save_to=tmp_path)
    assert [type(outcome) for outcome in outcomes] == [Completed] * 3 + [Failed]
    assert all(isinstance(outcome, Failed) or (outcome.files and not outcome.download_error) for outcome in outcomes)  # type: ignore[union-attr]
    (warning,) = [record.getMessage() for record in caplog.records if NAME in record.getMessage()]
    assert "cannot be used" in warning


async def test_lines_that_are_broken_are_skipped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    torn = b'{"key": "a", "state": "completed"}\n[1]\n\n{"state": 1}\n{"key": 2}\n\xff\xfe\n{"key": "b", "st'
    (tmp_path / NAME).write_bytes(torn)
    manifest = Manifest(tmp_path)
    manifest.load()
    for key in ("c", "a"):
        manifest.append({"key": key, "state": "failed"})
    assert [(record["key"], record["state"]) for record in read_manifest(tmp_path)] == [
        ("a", "failed"),
        ("c", "failed"),
    ]


async def test_a_folder_without_a_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path)


async def test_lines_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    text = "x" * 20_000

    def write(writer: int) -> None:
        manifest = Manifest(tmp_path)
        for number in range(50):
            manifest.append({"key": f"{writer}-{number}", "text": text})

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_manifest(tmp_path)) == 200


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, key: str, prompt: str) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    outcome = Failed(key=key, request=ImageRequest(prompt), error=RequestValidationError(["x"]), **HANDLE)
    Manifest(folder).append(record_of(outcome, folder))
    (record,) = read_manifest(folder)
    assert (record["key"], record["prompt"]) == (key, prompt)
    assert (folder / NAME).read_bytes().count(b"\n") == 1
