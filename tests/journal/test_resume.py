"""Running the same batch again: each state of a row is gone on with as it must be, and each request ends once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from journal.conftest import open_session

from toapis_async import (
    Backoff,
    Completed,
    Failed,
    GenerationFailed,
    ImageRequest,
    InsufficientBalanceError,
    InvalidRequestError,
    JobState,
    Outcome,
    PermissionDeniedError,
    RateLimitedError,
    RequestValidationError,
    RetryPolicy,
    SubmissionUnknown,
    TimedOut,
    ToapisError,
    ToapisSession,
    TransportError,
    Unresolved,
)
from toapis_async._http.transport import AiohttpTransport
from toapis_async._journal import Row, read_rows
from toapis_async._protocol.messages import HttpResponse
from toapis_async.testing import FAIL_MARKER, REJECT_MARKER, Fault, Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox", size="16:9")


async def run(session: ToapisSession, path: Path, *requests: ImageRequest, retry_failed: bool = False) -> list[Outcome]:
    return await session.generate_many(requests, journal=path, retry_failed=retry_failed)


def rewrite(path: Path, assignments: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE jobs SET {assignments}")


def only_row(path: Path) -> Row:
    (row,) = read_rows(path)
    return row


async def test_what_ended_comes_back_without_traffic(session: ToapisSession, sim: Simulator, path: Path) -> None:
    requests = [FOX, ImageRequest(f"{FAIL_MARKER} fox"), ImageRequest(f"{REJECT_MARKER} fox")]
    first = await run(session, path, *requests)
    traffic = len(sim.requests)
    second = await run(session, path, *requests)
    assert len(sim.requests) == traffic
    assert [type(outcome) for outcome in first] == [Completed, Failed, Failed]
    for before, after in zip(first, second, strict=True):
        assert (before.replayed, after.replayed) == (False, True)
        assert after.key == before.key
        assert after.request == before.request
        assert (after.task_id, after.client_business_id) == (before.task_id, before.client_business_id)
        assert after.task == before.task
        if isinstance(before, Failed):
            assert isinstance(after, Failed)
            assert type(after.error) is type(before.error)
            assert str(after.error) == str(before.error)


async def test_what_runs_is_waited_for(session: ToapisSession, sim: Simulator, path: Path) -> None:
    sim.add_fault(faults.lasts(1.0))
    async with session.open_batch([FOX], journal=path):
        await sim.wait_for_requests("query", 1)
    row = only_row(path)
    assert (row.state, row.task_id) == ("submitted", sim.charges[0].task_id)
    async with open_session(sim) as another:
        (outcome,) = await run(another, path, FOX)
    assert isinstance(outcome, Completed)
    assert not outcome.replayed
    assert outcome.task_id == row.task_id
    assert len(sim.charges) == 1
    assert only_row(path).state == "completed"


async def test_what_timed_out_is_waited_for(session: ToapisSession, sim: Simulator, path: Path) -> None:
    sim.add_fault(faults.lasts(0.5))
    (first,) = await session.generate_many([FOX], journal=path, poll=Backoff(initial=0.01, deadline=0.05))
    assert isinstance(first, TimedOut)
    (second,) = await run(session, path, FOX)
    assert isinstance(second, Completed)
    assert len(sim.charges) == 1


async def test_what_was_not_taken_is_sent(session: ToapisSession, sim: Simulator, path: Path) -> None:
    sim.add_fault(faults.error(402, "insufficient_quota", kind="submit"))
    (first,) = await run(session, path, FOX)
    assert isinstance(first, Failed)
    assert isinstance(first.error, InsufficientBalanceError)
    row = only_row(path)
    assert row.state == "queued"
    (second,) = await run(session, path, FOX)
    assert isinstance(second, Completed)
    assert second.client_business_id == row.client_business_id
    assert len(sim.charges) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.error(403, "modelNotAllowed", kind="submit"), PermissionDeniedError),
        (faults.throttle(0.01, kind="submit", times=None), RateLimitedError),
        (None, TransportError),
    ],
)
async def test_what_was_refused_for_a_reason_that_may_pass_is_sent(
    sim: Simulator, path: Path, fault: Fault | None, kind: type[ToapisError], monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault:
        sim.add_fault(fault)
    retry = RetryPolicy(attempts=1, max_throttle=0)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry) as refused:
        if fault is None:
            monkeypatch.setattr(AiohttpTransport, "send", unreachable)
        (first,) = await run(refused, path, FOX)
        monkeypatch.undo()
    assert isinstance(first, Failed)
    assert type(first.error) is kind
    assert only_row(path).state == "queued"
    sim.clear_faults()
    async with open_session(sim) as another:
        (second,) = await run(another, path, FOX)
    assert isinstance(second, Completed)
    assert len(sim.charges) == 1


async def unreachable(*_: object, **__: object) -> HttpResponse:
    raise TransportError("no route", sent=False)


@pytest.mark.parametrize("state", ["posting", "unresolved"])
async def test_what_may_have_been_accepted_is_looked_up(
    session: ToapisSession, sim: Simulator, path: Path, state: str
) -> None:
    await run(session, path, FOX)
    rewrite(path, f"state = '{state}', task_id = NULL, snapshot = NULL")
    (outcome,) = await run(session, path, FOX)
    assert isinstance(outcome, Completed)
    assert outcome.task_id == sim.charges[0].task_id
    assert len(sim.charges) == 1


@pytest.mark.parametrize("again", [False, True])
async def test_what_is_not_found_is_sent_again_only_if_the_policy_says_so(
    session: ToapisSession, sim: Simulator, path: Path, again: bool
) -> None:
    sim.add_fault(faults.drop(when="before", kind="submit"))
    (lost,) = await run(session, path, FOX)
    assert isinstance(lost, Unresolved)
    assert only_row(path).state == "unresolved"
    async with open_session(sim, resubmit_unknown=again) as another:
        (outcome,) = await run(another, path, FOX)
    assert outcome.client_business_id == lost.client_business_id
    assert isinstance(outcome, Completed if again else Unresolved)
    assert len(sim.charges) == again
    if not again:
        assert isinstance(outcome, Unresolved)
        assert isinstance(outcome.error, SubmissionUnknown)
        assert outcome.error.not_found


@pytest.mark.parametrize("marker", [FAIL_MARKER, REJECT_MARKER])
async def test_what_failed_is_paid_anew_only_if_asked(
    session: ToapisSession, sim: Simulator, path: Path, marker: str
) -> None:
    request = ImageRequest(f"{marker} fox", client_business_id="mine")
    (first,) = await run(session, path, request)
    assert isinstance(first, Failed)
    for _ in range(2):
        (again,) = await run(session, path, request, retry_failed=True)
        assert isinstance(again, Failed)
        assert not again.replayed
        assert again.client_business_id not in {None, "mine"}
    row = only_row(path)
    assert len({"mine", *row.earlier_ids, row.client_business_id}) == 3
    assert row.earlier_ids[0] == "mine"
    posts = [record for record in sim.requests if record.kind == "submit"]
    assert len(posts) == 3


async def test_a_new_id_of_the_users_own_is_used_for_paying_anew(
    session: ToapisSession, sim: Simulator, path: Path
) -> None:
    await run(session, path, ImageRequest(f"{FAIL_MARKER} fox", client_business_id="mine-1"))
    (again,) = await run(
        session, path, ImageRequest(f"{FAIL_MARKER} fox", client_business_id="mine-2"), retry_failed=True
    )
    assert again.client_business_id == "mine-2"


async def test_retry_failed_needs_a_journal(session: ToapisSession) -> None:
    with pytest.raises(ValueError, match=r"retry_failed: .*journal="):
        session.open_batch(retry_failed=True)


# -- keys


async def test_the_same_requests_in_another_order_are_the_same_jobs(
    session: ToapisSession, sim: Simulator, path: Path
) -> None:
    twin, other = ImageRequest("twins"), ImageRequest("an owl")
    first = await run(session, path, twin, other, twin, twin)
    second = await run(session, path, other, twin, twin, twin, FOX)
    assert {outcome.key for outcome in first} < {outcome.key for outcome in second}
    assert [outcome.replayed for outcome in second] == [True, True, True, True, False]
    assert len({outcome.key for outcome in second}) == 5
    assert [outcome.key for outcome in first[2:]] == [f"{first[0].key}-2", f"{first[0].key}-3"]
    assert len(sim.charges) == 5


async def test_your_own_keys_name_the_rows(session: ToapisSession, sim: Simulator, path: Path) -> None:
    for replayed in (False, True):
        (outcome,) = await session.generate_many([("fox", FOX)], journal=path)
        assert (outcome.key, outcome.replayed) == ("fox", replayed)
    assert only_row(path).request == FOX


async def test_a_changed_request_under_a_known_key_is_refused_by_name(
    session: ToapisSession, sim: Simulator, path: Path
) -> None:
    await session.generate_many([("fox", FOX)], journal=path)
    changed = ImageRequest("a red fox", size="9:16")
    (outcome,) = await session.generate_many([("fox", changed)], journal=path)
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, RequestValidationError)
    assert "'fox' belongs to another request" in str(outcome.error)
    async with session.open_batch(journal=path) as batch:
        with pytest.raises(RequestValidationError, match="'fox' belongs to another request"):
            batch.submit(changed, key="fox")
        assert batch.submit(FOX, key="fox").state is JobState.COMPLETED
    assert len(sim.charges) == 1
    assert only_row(path).request == FOX


@pytest.mark.parametrize("key", ["nul\0", "half \ud83d", ""])
async def test_any_text_is_a_key_unless_it_cannot_be_stored(
    session: ToapisSession, sim: Simulator, path: Path, key: str
) -> None:
    (outcome,) = await session.generate_many([(key, FOX)], journal=path)
    if key:
        assert isinstance(outcome, Failed)
        assert "cannot be stored" in str(outcome.error)
        assert not sim.charges
    else:
        assert isinstance(outcome, Completed)
        assert only_row(path).key == key


async def test_resumed_jobs_do_not_count_towards_max_in_flight(
    session: ToapisSession, sim: Simulator, path: Path
) -> None:
    sim.add_fault(faults.never_finishes(times=None))
    requests = [ImageRequest(f"fox {number}") for number in range(10)]
    async with session.open_batch(requests, journal=path) as batch:
        await sim.wait_for_requests("submit", 10)
    async with open_session(sim) as another:
        async with another.open_batch([*requests, FOX, FOX], max_in_flight=1, journal=path) as batch:
            with anyio.fail_after(30):
                await sim.wait_for_requests("submit", 11)
            assert batch.progress.running + batch.progress.posting == 11
        assert len(batch.unfinished) == 11
    assert len(sim.charges) == 11


async def test_a_row_whose_answer_repeats_no_id_is_restored(session: ToapisSession, sim: Simulator, path: Path) -> None:
    await run(session, path, FOX)
    rewrite(path, """snapshot = '{"status": "completed", "data": [{"url": "https://a.example/1.png"}]}'""")
    (outcome,) = await run(session, path, FOX)
    assert outcome.task_id == sim.charges[0].task_id
    assert outcome.unwrap().images[0].url == "https://a.example/1.png"


async def test_a_refusal_is_restored_with_its_facts(session: ToapisSession, sim: Simulator, path: Path) -> None:
    sim.add_fault(faults.error(400, "invalid_parameter", kind="submit", headers={"X-Request-Id": "r-1"}))
    await run(session, path, FOX)
    (outcome,) = await run(session, path, FOX)
    assert isinstance(outcome, Failed)
    error = outcome.error
    assert isinstance(error, InvalidRequestError)
    assert (error.http_status, error.code, error.request_id) == (400, "invalid_parameter", "r-1")
    assert outcome.task_id is None


async def test_a_failure_is_restored_with_its_snapshot(session: ToapisSession, path: Path) -> None:
    request = ImageRequest(f"{FAIL_MARKER} fox")
    (first,) = await run(session, path, request)
    (second,) = await run(session, path, request)
    assert isinstance(second, Failed)
    assert isinstance(second.error, GenerationFailed)
    assert second.error.task == first.task
