"""Answers that are not about the request they meet: late ones on a connection used again, echoes, references."""

from __future__ import annotations

import json
from typing import Any

import pytest
from answers import shows

from toapis_async import GeneratedImage, GenerationTask, ImageRequest, TaskStatus, ToapisSession
from toapis_async._files.references import Checked
from toapis_async._protocol.endpoints import Accepted, Ambiguous, Refused, Rejected, interpret_submit
from toapis_async._protocol.messages import HttpResponse
from toapis_async._schedule.backoff import Backoff, BackoffSchedule
from toapis_async._submission import Submission
from toapis_async._watch import Origin, Watch
from toapis_async.testing import Reply, Simulator, Subject, faults

TASK = {"id": "tsk_1", "object": "generation.task", "status": "queued"}


def answer(status: int, body: Any) -> HttpResponse:
    return HttpResponse(status=status, body=json.dumps(body).encode())


@pytest.mark.parametrize(
    ("named", "kind"), [("mine", Accepted), (" MINE ", Accepted), (None, Accepted), ("theirs", Ambiguous)]
)
def test_an_acceptance_of_another_request_is_no_acceptance(named: str | None, kind: type) -> None:
    reply = interpret_submit(answer(200, {**TASK, "client_business_id": named}), client_business_id="mine")
    assert isinstance(reply, kind)


@pytest.mark.parametrize("status", [400, 401, 402, 429, 503])
def test_a_refusal_that_shows_our_own_task_is_none(status: int) -> None:
    shown = answer(status, {**TASK, "client_business_id": "mine"})
    assert isinstance(interpret_submit(shown, client_business_id="mine"), Ambiguous)
    assert not isinstance(interpret_submit(shown, client_business_id="other"), Accepted)
    echo = answer(status, {"error": {"code": "invalid_parameter", "message": "no", "client_business_id": "mine"}})
    assert isinstance(interpret_submit(echo, client_business_id="mine"), Refused | Rejected | Ambiguous)
    page = HttpResponse(status=400, body=b"<html>mine</html>")
    assert isinstance(interpret_submit(page, client_business_id="mine"), Rejected)


def watch_for(request: ImageRequest, origin: Origin) -> Watch:
    schedule = BackoffSchedule(Backoff(initial=1, factor=1, deadline=100))
    submission = Submission(Checked(request=request), "mine")
    return Watch(
        "tsk_1", kind="image", schedule=schedule, origin=origin, since=0.0, random=lambda: 0.5, submission=submission
    )


@pytest.mark.parametrize("origin", [Origin.ACCEPTED, Origin.LOST])
def test_a_look_that_shows_another_task_shows_nothing(origin: Origin) -> None:
    watch = watch_for(ImageRequest("a fox"), origin)
    done = "https://a.example/theirs.png"
    watch.begin(1.0)
    theirs = shows(TaskStatus.COMPLETED, done, id="tsk_2", client_business_id="theirs")
    assert watch.advance(theirs, 1.0, lambda: 0.5) is None
    assert watch.last is None
    ours = shows(TaskStatus.COMPLETED, done, id="tsk_1", client_business_id="mine")
    assert watch.advance(ours, 2.0, lambda: 0.5) == ours.task


def test_the_references_of_a_request_are_no_results() -> None:
    reference = "https://a.example/cat.png"
    watch = watch_for(ImageRequest("a fox", images=[reference]), Origin.ACCEPTED)
    echoed = shows(TaskStatus.COMPLETED, reference)
    assert watch.advance(echoed, 1.0, lambda: 0.5) is None
    assert watch.last is not None
    assert watch.last.images == ()
    result = GeneratedImage(url="https://a.example/fox.png")
    both = shows(TaskStatus.COMPLETED, reference, result.url)
    verdict = watch.advance(both, 2.0, lambda: 0.5)
    assert isinstance(verdict, GenerationTask)
    assert verdict.images == (result,)


@pytest.mark.anyio
async def test_a_late_answer_to_another_post_costs_no_task(session: ToapisSession, sim: Simulator) -> None:
    def mixed_up(subject: Subject) -> Reply:
        return Reply(status=200, body=json.dumps({**TASK, "id": "tsk_0", "client_business_id": "earlier"}).encode())

    sim.add_fault(faults.reply_with(mixed_up, when="after", kind="submit"))
    task = await session.generate(ImageRequest("a red fox"))
    assert task.id == sim.charges[0].task_id
    assert len(sim.charges) == 1
