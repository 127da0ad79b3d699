"""A journal knows pictures by their content and where they were, and what it cost nothing to upload once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from toapis_async import (
    AuthenticationError,
    Completed,
    Failed,
    ImageRequest,
    JobState,
    JournalError,
    RequestValidationError,
    ToapisSession,
    Unresolved,
)
from toapis_async._files.manifest import read_manifest
from toapis_async._journal import digest_of, read_rows
from toapis_async._journal.uploads import Uploads
from toapis_async.models import StoredImage
from toapis_async.testing import Simulator, faults

from .common import CAT, DOG, kinds, open_session, sent_images

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "fox.db"


def states(journal: Path) -> list[str]:
    return [row.state for row in read_rows(journal)]


def run_sql(journal: Path, statement: str) -> None:
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute(statement)


async def test_a_row_holds_digest_and_path_and_never_the_bytes(
    session: ToapisSession, journal: Path, cat: Path
) -> None:
    request = ImageRequest("a fox", images=["https://a.example/1.png", cat, DOG], metadata={"seed": 1})
    await session.generate_many([request], journal=journal)
    with closing(sqlite3.connect(journal)) as db:
        (text,) = db.execute("SELECT request FROM jobs").fetchone()
    images = json.loads(text)["images"]
    assert images[0] == "https://a.example/1.png"
    assert images[1]["path"] == str(cat)
    assert set(images[2]) == {"sha256"}
    (row,) = read_rows(journal)
    assert row.request.images == (
        images[0],
        StoredImage(images[1]["sha256"], cat),
        StoredImage(images[2]["sha256"], None),
    )
    assert digest_of(row.request) == row.digest == digest_of(request)


async def test_the_same_picture_elsewhere_is_the_same_request(cat: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(CAT)
    one, two, three = (digest_of(ImageRequest("a fox", images=[source])) for source in (cat, copy, CAT))
    assert one == two == three
    others = [ImageRequest("a fox"), ImageRequest("a fox", images=[DOG]), ImageRequest("a fox", images=[CAT, DOG])]
    assert len({one, *map(digest_of, others)}) == 4
    named = ImageRequest("a fox", images=[cat], client_business_id="mine")
    assert digest_of(named) == one


async def test_the_digest_of_a_request_with_pictures_is_the_same_in_every_version() -> None:
    request = ImageRequest("a red fox", images=["https://a.example/1.png", b"\x89PNG\r\n\x1a\nrest"])
    assert digest_of(request) == "5eedfd9c47127927a254591ff002b675"


async def test_what_is_done_is_replayed_without_an_upload(
    session: ToapisSession, sim: Simulator, journal: Path, cat: Path
) -> None:
    await session.generate_many([ImageRequest("a fox", images=[cat])], journal=journal)
    seen = len(sim.requests)
    async with open_session(sim) as later:
        (outcome,) = await later.generate_many([ImageRequest("a fox", images=[CAT])], journal=journal)
    assert outcome.replayed
    assert len(sim.requests) == seen


async def test_a_changed_picture_is_another_request(session: ToapisSession, sim: Simulator, journal: Path) -> None:
    await session.generate_many([("a", ImageRequest("a fox", images=[CAT]))], journal=journal)
    (clash,) = await session.generate_many([("a", ImageRequest("a fox", images=[DOG]))], journal=journal)
    assert isinstance(clash, Failed)
    assert "belongs to another request" in str(clash.error)
    assert len(sim.charges) == 1


async def test_what_was_uploaded_is_not_uploaded_by_the_next_run(sim: Simulator, journal: Path, cat: Path) -> None:
    requests = [ImageRequest(f"fox {n}", images=[cat]) for n in range(10)]
    sim.add_fault(faults.error(503, "model_not_found", "no available channel", kind="submit", times=10))
    for expected in (Failed, Completed):
        async with open_session(sim) as session:
            outcomes = await session.generate_many(requests, journal=journal)
        assert {type(outcome) for outcome in outcomes} == {expected}
    assert len(sim.uploads) == 1
    assert sent_images(sim) == [[sim.uploads[0].url]] * 20


async def test_an_upload_of_long_ago_is_not_relied_on(sim: Simulator, journal: Path, cat: Path) -> None:
    request = ImageRequest("a fox", images=[cat])
    sim.add_fault(faults.error(503, "model_not_found", "no available channel", kind="submit"))
    async with open_session(sim) as session:
        await session.generate_many([request], journal=journal)
    run_sql(journal, "UPDATE uploads SET noted_at = noted_at - 100000")
    async with open_session(sim) as session:
        await session.generate_many([request], journal=journal)
    assert len(sim.uploads) == 2
    assert sent_images(sim)[-1] == [sim.uploads[1].url]


async def test_an_upload_that_fails_for_a_passing_reason_is_tried_by_the_next_run(
    sim: Simulator, journal: Path, cat: Path
) -> None:
    request = ImageRequest("a fox", images=[cat])
    sim.add_fault(faults.error(500, "internal_error", kind="upload"))
    async with open_session(sim, attempts=1) as session:
        (failed,) = await session.generate_many([request], journal=journal)
        assert isinstance(failed, Failed)
        assert states(journal) == ["queued"]
        (done,) = await session.generate_many([request], journal=journal)
    assert isinstance(done, Completed)
    assert not done.replayed


async def test_an_upload_that_is_refused_for_good_is_replayed_as_a_failure(sim: Simulator, journal: Path) -> None:
    request = ImageRequest("a fox", images=[CAT])
    sim.add_fault(faults.error(400, "", "Unsupported image type", shape="success", kind="upload"))
    async with open_session(sim) as session:
        await session.generate_many([request], journal=journal)
    assert states(journal) == ["failed"]
    async with open_session(sim) as session:
        (outcome,) = await session.generate_many([request], journal=journal)
        assert outcome.replayed
        assert isinstance(outcome, Failed)
        assert "Could not upload images[0]" in str(outcome.error)
        (paid,) = await session.generate_many([request], journal=journal, retry_failed=True)
    assert isinstance(paid, Completed)
    assert len(sim.charges) == 1


async def leave_running(sim: Simulator, journal: Path, cat: Path, key: str | None = None) -> None:
    sim.add_fault(faults.never_finishes())
    async with open_session(sim) as session, session.open_batch(journal=journal) as batch:
        batch.submit(ImageRequest("a fox", images=[cat]), key=key)
        await sim.wait_for_requests("query", 1)
    assert states(journal) == ["submitted"]


async def test_an_unreadable_journal_ends_an_upload_and_not_what_runs(
    sim: Simulator, journal: Path, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise JournalError("cannot be read", path=journal)

    async with open_session(sim) as session, session.open_batch(journal=journal) as batch:
        running = batch.submit(ImageRequest("a fox"))
        await sim.wait_for_requests("submit", 1)
        monkeypatch.setattr(Uploads, "note", unreadable)
        pictured = batch.submit(ImageRequest("a fox", images=[cat]))
        with pytest.raises(JournalError, match="cannot be read"):
            async for outcome in batch:
                assert outcome.key == running.key
    assert isinstance(await running.wait(), Completed)
    assert batch.unfinished == (pictured,)
    assert pictured.state is JobState.QUEUED
    assert len(sim.charges) == 1


async def test_the_manifest_names_the_pictures_of_a_request_that_a_journal_kept(
    sim: Simulator, journal: Path, cat: Path, tmp_path: Path
) -> None:
    request = ImageRequest("a fox", size="16:9", images=[cat, CAT])
    async with open_session(sim) as session:
        await session.generate_many([("fox", request)], journal=journal)
    rows = [(row.key, row.request) for row in read_rows(journal)]
    async with open_session(sim) as session:
        await session.generate_many(rows, journal=journal, save_to=tmp_path / "out")
    (line,) = read_manifest(tmp_path / "out")
    assert line["parameters"]["size"] == "16:9"
    assert line["parameters"]["images"][0] == str(cat)
    assert line["parameters"]["images"][1].startswith("sha256:")


async def test_a_paid_task_goes_on_although_its_picture_is_gone(sim: Simulator, journal: Path, cat: Path) -> None:
    await leave_running(sim, journal, cat, "mine")
    cat.unlink()
    sim.complete(sim.charges[0].task_id)
    async with open_session(sim) as session:
        (outcome,) = await session.generate_many([("mine", ImageRequest("a fox", images=[cat]))], journal=journal)
    assert isinstance(outcome, Completed)
    assert len(sim.charges) == len(sim.uploads) == 1


async def test_a_row_stands_for_its_picture_without_the_file(sim: Simulator, journal: Path, cat: Path) -> None:
    await leave_running(sim, journal, cat)
    cat.unlink()
    sim.complete(sim.charges[0].task_id)
    (row,) = read_rows(journal)
    async with open_session(sim) as session:
        (outcome,) = await session.generate_many([(row.key, row.request)], journal=journal)
    assert isinstance(outcome, Completed)
    assert len(sim.charges) == 1


async def test_a_missing_picture_that_no_row_knows_is_told(session: ToapisSession, journal: Path, cat: Path) -> None:
    await session.generate_many([("mine", ImageRequest("a fox", images=[CAT]))], journal=journal)
    cat.unlink()
    keyed = [(key, ImageRequest("a fox", images=[cat])) for key in ("mine", "other", "a\0b")]
    outcomes = await session.generate_many(keyed, journal=journal)
    for outcome in outcomes:
        assert isinstance(outcome, Failed)
        assert "does not exist" in str(outcome.error)


async def test_a_picture_that_became_something_else_is_told(session: ToapisSession, journal: Path, cat: Path) -> None:
    request = ImageRequest("a fox", images=[cat])
    await session.generate_many([("mine", request)], journal=journal)
    cat.write_text("<html>")
    (outcome,) = await session.generate_many([("mine", request)], journal=journal)
    assert isinstance(outcome, Failed)
    assert "is not a jpeg, png or webp picture" in str(outcome.error)


async def queue(sim: Simulator, journal: Path, request: ImageRequest) -> None:
    """Let a run end before it could upload anything."""
    sim.add_fault(faults.error(500, "internal_error", kind="upload"))
    async with open_session(sim, attempts=1) as session:
        await session.generate_many([request], journal=journal)
    assert states(journal) == ["queued"]


@pytest.mark.parametrize("harm", ["gone", "changed", "bytes"])
async def test_a_row_whose_picture_is_not_there_any_more_fails_and_is_not_paid(
    sim: Simulator, journal: Path, cat: Path, harm: str
) -> None:
    await queue(sim, journal, ImageRequest("a fox", images=[CAT if harm == "bytes" else cat]))
    if harm == "gone":
        cat.unlink()
    elif harm == "changed":
        cat.write_bytes(DOG)
    (row,) = read_rows(journal)
    async with open_session(sim) as session:
        (outcome,) = await session.generate_many([(row.key, row.request)], journal=journal)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, RequestValidationError)
    said = {"gone": "does not exist", "changed": "was changed after", "bytes": "was given as bytes"}
    assert said[harm] in str(outcome.error)
    assert sim.charges == ()
    assert states(journal) == ["queued"]  # the picture may come back


@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_lost_request_is_sent_again_with_its_picture_or_stays_unresolved(
    sim: Simulator, journal: Path, cat: Path, is_gone: bool
) -> None:
    sim.add_fault(faults.error(500, "internal_error", kind="submit"))
    async with open_session(sim) as session:
        (lost,) = await session.generate_many([ImageRequest("a fox", images=[cat])], journal=journal)
    assert isinstance(lost, Unresolved)
    run_sql(journal, "DELETE FROM uploads")
    (row,) = read_rows(journal)
    if is_gone:
        cat.unlink()
    async with open_session(sim, resubmit_unknown=True) as session:
        (outcome,) = await session.generate_many([(row.key, row.request)], journal=journal)
    assert outcome.state is (JobState.UNRESOLVED if is_gone else JobState.COMPLETED)
    assert len(sim.charges) == (0 if is_gone else 1)
    assert kinds(sim).count("upload") == (1 if is_gone else 2)


@pytest.mark.parametrize("how", ["left", "closed"])
async def test_a_lost_request_whose_picture_goes_up_anew_is_not_called_unsent_when_its_batch_ends(
    sim: Simulator, journal: Path, how: str
) -> None:
    sim.add_fault(faults.error(500, "internal_error", kind="submit"))
    request = ImageRequest("a fox", images=[CAT])
    async with open_session(sim) as session:
        await session.generate_many([request], journal=journal)
    run_sql(journal, "DELETE FROM uploads")
    sim.add_fault(faults.hang(when="before", kind="upload"))
    uploads = kinds(sim).count("upload")
    states_seen: list[JobState] = []
    async with open_session(sim, resubmit_unknown=True) as session:
        batch = session.open_batch([request], journal=journal)
        with suppress(AuthenticationError):
            async with batch:
                await sim.wait_for_requests("upload", uploads + 1)
                if how == "closed":
                    sim.add_fault(faults.error(401, "unauthorized", kind="submit"))
                    batch.submit(ImageRequest("a whale"))
                    states_seen += [outcome.state async for outcome in batch]
        left = [job for job in batch.unfinished if job.request == request]
        if how == "left":
            assert [job.state for job in left] == [JobState.POSTING]
        else:
            assert left == []
    assert states(journal)[0] in {"posting", "unresolved"}
    assert sim.charges == ()


async def test_a_picture_of_an_earlier_run_is_no_result_of_a_task_that_goes_on(
    sim: Simulator, journal: Path, cat: Path
) -> None:
    await leave_running(sim, journal, cat)
    url = sim.uploads[0].url

    def repeat(body: dict[str, object]) -> object:
        return {**body, "images": [url]}

    sim.add_fault(faults.edit_json(repeat, kind="query", times=None))
    sim.complete(sim.charges[0].task_id)
    async with open_session(sim) as session:
        (outcome,) = await session.generate_many([ImageRequest("a fox", images=[cat])], journal=journal)
    assert url not in [image.url for image in outcome.unwrap().images]
    assert len(outcome.unwrap().images) == 1
