"""What waits teach the session about how long tasks take, and what they gain by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import anyio
import pytest
from answers import shows
from attrs import evolve
from learning import KEY, learned, tables_of

from toapis_async import (
    AdaptiveBackoff,
    Backoff,
    ImageRequest,
    NotFoundError,
    ServerError,
    TaskStatus,
    ToapisSession,
)
from toapis_async._protocol.endpoints import Seen
from toapis_async._watch import Origin, Watch
from toapis_async.testing import Simulator, faults

FOX = ImageRequest("a red fox")
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


class Notebook:
    """A schedule that writes down what it is told."""

    deadline = 1000.0

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def first_wait(self, random: Callable[[], float]) -> float:
        return 5.0

    def next_wait(self, age: float, random: Callable[[], float], *, pending: bool = True) -> float:
        self.lines.append(("wait", age, pending))
        return 10.0

    def finished(self, age: float, created_at: datetime | None = None, completed_at: datetime | None = None) -> None:
        self.lines.append(("finished", age, created_at, completed_at))

    def late(self, seconds: float) -> None:
        self.lines.append(("late", seconds))

    def is_of(self, model: str) -> None:
        self.lines.append(("model", model))

    def told(self, *kinds: str) -> list[tuple[Any, ...]]:
        return [line for line in self.lines if line[0] in kinds]


def half() -> float:
    return 0.5


def make(origin: Origin, *, since: float = 100.0, born: float | None = None) -> tuple[Watch, Notebook]:
    notes = Notebook()
    return Watch("t", kind="image", schedule=notes, origin=origin, since=since, born=born, random=half), notes


def state(status: TaskStatus, *, after: float | None = None, answered: float | None = None, pictures: int = 0) -> Seen:
    """Say `status`; `after` is the time by the service's clock that it took, `answered` when it says so."""
    return shows(
        status,
        *["https://a.example/1.png"] * pictures,
        date=None if answered is None else f"{CREATED + timedelta(seconds=answered):%a, %d %b %Y %H:%M:%S} GMT",
        model="painter",
        created_at=CREATED.timestamp(),
        completed_at=None if after is None else CREATED.timestamp() + after,
    )


def ask(watch: Watch, sent_at: float, answer: Seen | Exception, answered_at: float | None = None) -> Any:
    watch.begin(sent_at)
    return watch.advance(answer, sent_at if answered_at is None else answered_at, half)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_ages_count_from_acceptance_and_waits_from_question_to_question() -> None:
    watch, notes = make(Origin.ACCEPTED, born=100.0)
    assert watch.due == 105.0
    assert ask(watch, 105.5, state(TaskStatus.IN_PROGRESS), answered_at=107.0) is None
    assert watch.due == 115.5
    assert ask(watch, 115.5, state(TaskStatus.COMPLETED, after=12, pictures=1), answered_at=116.0) is not None
    assert notes.lines == [
        ("late", 0.5),
        ("model", "painter"),
        ("wait", 5.5, True),
        ("late", 0.0),
        ("finished", 16.0, CREATED, CREATED + timedelta(seconds=12)),
    ]


def test_an_answer_that_takes_longer_than_the_wait_is_followed_by_the_next_question_at_once() -> None:
    watch, _ = make(Origin.ACCEPTED, born=100.0)
    ask(watch, 105.0, ServerError("no", http_status=500), answered_at=120.0)
    assert watch.due == 120.0


def test_a_pause_is_not_lateness() -> None:
    watch, notes = make(Origin.ACCEPTED, born=100.0)
    watch.sit_out(150.0, 106.0)
    ask(watch, 151.0, state(TaskStatus.QUEUED))
    assert notes.told("late") == [("late", 1.0)]


@pytest.mark.parametrize(
    "answer", [ServerError("no", http_status=500), NotFoundError("no", http_status=404)], ids=["error", "not found"]
)
def test_a_look_that_fails_teaches_nothing(answer: Exception) -> None:
    watch, notes = make(Origin.ACCEPTED, born=100.0)
    ask(watch, 105.0, answer)
    ask(watch, 115.0, state(TaskStatus.QUEUED))
    ask(watch, 125.0, answer)
    assert notes.told("wait") == [("wait", 5.0, False), ("wait", 15.0, True), ("wait", 25.0, False)]


def test_a_task_without_its_pictures_has_finished_once_and_is_not_running() -> None:
    watch, notes = make(Origin.ACCEPTED, born=100.0)
    ask(watch, 110.0, state(TaskStatus.COMPLETED, after=8))
    ask(watch, 120.0, state(TaskStatus.COMPLETED, after=8))
    ask(watch, 130.0, state(TaskStatus.COMPLETED, after=8, pictures=1))
    assert [line[:2] for line in notes.told("finished")] == [("finished", 10.0)]
    assert [line[2] for line in notes.told("wait")] == [False, False]


def test_a_failed_task_has_finished_too() -> None:
    watch, notes = make(Origin.ACCEPTED, born=100.0)
    ask(watch, 110.0, state(TaskStatus.FAILED))
    assert notes.told("finished") == [("finished", 10.0, CREATED, None)]


def test_the_age_of_a_task_that_was_there_before_is_the_services_word() -> None:
    watch, notes = make(Origin.GIVEN)
    ask(watch, 100.0, state(TaskStatus.IN_PROGRESS, answered=40))
    ask(watch, 110.0, state(TaskStatus.IN_PROGRESS, answered=9000))  # only the first word counts
    ask(watch, 120.0, state(TaskStatus.COMPLETED, pictures=1))
    assert notes.told("wait") == [("wait", 40.0, True), ("wait", 50.0, True)]
    assert notes.told("finished")[0][1] == 60.0


@pytest.mark.parametrize("answered", [-3600, None])
def test_an_age_that_cannot_be_is_not_believed(answered: float | None) -> None:
    watch, notes = make(Origin.GIVEN)
    ask(watch, 103.0, state(TaskStatus.IN_PROGRESS, answered=answered))
    assert notes.told("wait") == [("wait", 3.0, True)]


@pytest.mark.parametrize("date", ["tomorrow", "Thu, 01 Jan 2026 00:00:40", "Thu, 99 Jan 2026 00:00:40 GMT"])
def test_a_date_that_is_none_is_not_believed(date: str) -> None:
    watch, notes = make(Origin.GIVEN)
    ask(watch, 103.0, evolve(state(TaskStatus.IN_PROGRESS), date=date))
    assert notes.told("wait") == [("wait", 3.0, True)]


def test_a_fresh_task_is_as_old_as_we_know_it_to_be() -> None:
    watch, notes = make(Origin.ACCEPTED, born=100.0)
    ask(watch, 105.0, state(TaskStatus.IN_PROGRESS, answered=9000))
    assert notes.told("wait") == [("wait", 5.0, True)]


@pytest.mark.anyio
async def test_batches_and_single_waits_of_a_session_teach_one_table(session: ToapisSession) -> None:
    await session.generate_many([FOX] * 5)
    amounts = [learned(session)]
    assert 4.5 < amounts[0] <= 5
    await session.generate(FOX)
    amounts.append(learned(session))
    await session.wait((await session.submit(FOX)).id)
    amounts.append(learned(session))
    async with session.open_batch() as batch:
        batch.attach((await session.submit(FOX)).id)
        async for _ in batch:
            pass
    amounts.append(learned(session))
    async for _ in session.watch((await session.submit(FOX)).id):
        pass
    amounts.append(learned(session))
    assert all(after > before + 0.5 for before, after in pairwise(amounts))


@pytest.mark.anyio
async def test_a_plain_backoff_teaches_nothing(session: ToapisSession) -> None:
    await session.generate(FOX, poll=Backoff())
    assert learned(session) == 0


@pytest.mark.anyio
async def test_requests_that_cost_other_times_have_tables_of_their_own(session: ToapisSession) -> None:
    await session.generate(ImageRequest("a fox", n=4))
    assert learned(session) == 0
    assert learned(session, KEY._replace(n=4)) > 0


def assert_learned_twenty_seconds(session: ToapisSession) -> None:
    finished = tables_of(session).table(KEY).to_data()["finished"]
    edges = [0.5 * 1.2**number for number in range(51)]
    bins = [number for number, count in enumerate(finished) if count]
    assert edges[bins[0]] <= 21
    assert edges[bins[-1] + 1] >= 19
    assert len(bins) <= 3  # 20 seconds, give or take one


@pytest.mark.anyio
async def test_what_was_finished_long_before_it_was_asked_for_teaches_its_true_duration(session: ToapisSession) -> None:
    task = await session.submit(FOX)
    await anyio.sleep(3000)
    await session.wait(task.id)
    assert_learned_twenty_seconds(session)


@pytest.mark.anyio
@pytest.mark.parametrize("way", ["single", "batch"])
async def test_what_was_found_after_its_answer_was_lost_teaches_its_true_duration(
    session: ToapisSession, sim: Simulator, way: str
) -> None:
    sim.add_fault(faults.drop(when="after", kind="submit"))
    sim.add_fault(faults.error(502, "bad_gateway", kind="query", times=3))
    await (session.generate(FOX) if way == "single" else session.generate_many([FOX]))
    assert_learned_twenty_seconds(session)


@pytest.mark.anyio
async def test_an_old_task_without_times_teaches_nothing(session: ToapisSession, sim: Simulator) -> None:
    def without_times(body: dict[str, object]) -> object:
        return {name: value for name, value in body.items() if name not in {"created_at", "completed_at"}}

    sim.add_fault(faults.edit_json(without_times, kind="query", times=None))
    task = await session.submit(FOX)
    await anyio.sleep(3000)
    await session.wait(task.id)
    assert learned(session) == 0


@pytest.mark.anyio
@pytest.mark.parametrize("seconds", [12.0, 40.0, 100.0])
async def test_a_session_that_has_seen_a_few_tasks_notices_the_next_sooner(seconds: float) -> None:
    """A plain backoff that costs as many looks is compared on the same service."""

    async def delays_and_looks(poll: AdaptiveBackoff | Backoff) -> tuple[float, float]:
        async with (
            Simulator(limits=None, durations=seconds) as sim,
            ToapisSession(sim.api_key, base_url=sim.base_url, poll=poll) as session,
        ):
            await session.generate_many([FOX] * 20)
            before = len(sim.requests)
            delays: list[float] = []
            for _ in range(20):
                started = anyio.current_time()
                await session.generate(FOX)
                delays.append(anyio.current_time() - started - seconds)
            return sum(delays) / 20, (len(sim.requests) - before) / 20 - 1

    learned_delay, learned_looks = await delays_and_looks(AdaptiveBackoff())
    plain_delay, plain_looks = await delays_and_looks(Backoff(initial=1, factor=1.4, maximum=30))
    assert learned_looks <= plain_looks + 1
    assert learned_delay <= 0.5 * plain_delay
