"""The pacer keeps every window, slows down once per round of refusals, and recovers fully."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toapis_async import RateLimits
from toapis_async._schedule.pacer import Pacer

DOCUMENTED = {
    "default": (50, 300, 500, 3000),
    "vip": (167, 1000, 1667, 10_000),
    "svip": (334, 2000, 5000, 30_000),
}


def send_all(pacer: Pacer, arrivals: list[float]) -> list[float]:
    """Send one request for each arrival, in order and as early as the pacer allows."""
    now = 0.0
    sent: list[float] = []
    for arrival in arrivals:
        now = max(now, arrival)
        while (delay := pacer.delay(now)) > 0:
            now += delay
        pacer.take(now)
        sent.append(now)
    return sent


def most_in(sent: list[float], window: float) -> int:
    first = 0
    most = 0
    for last, time in enumerate(sent):
        while time - sent[first] > window:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("group", ["default", "vip", "svip"])
def test_a_flood_stays_inside_the_documented_limits(group: str) -> None:
    limits = RateLimits.for_group(group)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    submit_10, submit_60, query_10, query_60 = DOCUMENTED[group]
    submits = send_all(Pacer(limits.submit_per_second, limits.submit_burst), [0.0] * 3000)
    assert most_in(submits, 10) <= submit_10
    assert most_in(submits, 60) <= submit_60
    queries = send_all(Pacer(limits.query_per_second, limits.query_burst), [0.0] * 35_000)
    assert most_in(queries, 10) <= query_10
    assert most_in(queries, 60) <= query_60


@pytest.mark.parametrize("group", ["default", "vip", "svip"])
def test_the_limits_hold_at_the_service_while_connections_are_set_up(group: str) -> None:
    limits = RateLimits.for_group(group)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    submit_10, _, query_10, _ = DOCUMENTED[group]
    for rate, burst, limit in (
        (limits.submit_per_second, limits.submit_burst, submit_10),
        (limits.query_per_second, limits.query_burst, query_10),
    ):
        sent = send_all(Pacer(rate, burst), [0.0] * (2 * limit))
        arrived = sorted(time + (0.4 if number < burst else 0.0) for number, time in enumerate(sent))
        assert most_in(arrived, 10) <= limit


@given(st.lists(st.floats(0, 30), max_size=300))
def test_no_pattern_of_arrivals_breaks_a_window(gaps: list[float]) -> None:
    arrivals: list[float] = []
    now = 0.0
    for gap in gaps:
        now += gap if gap > 25 else gap / 100
        arrivals.append(now)
    limits = RateLimits()
    sent = send_all(Pacer(limits.submit_per_second, limits.submit_burst), arrivals)
    assert most_in(sent, 10) <= 50
    assert most_in(sent, 60) <= 300
    assert all(b - a >= 0.005 - 1e-9 for a, b in pairwise(sent))


@given(st.integers(1, 40))
def test_shares_together_stay_inside_the_limits(n: int) -> None:
    share = RateLimits().share(n)
    assert n * (share.submit_burst + 10 * share.submit_per_second) <= 50 + 1e-6
    assert n * (share.submit_burst + 60 * share.submit_per_second) <= 300 + 1e-6
    assert n * (share.query_burst + 10 * share.query_per_second) <= 500 + 1e-6
    assert n * (share.query_burst + 60 * share.query_per_second) <= 3000 + 1e-6


@pytest.mark.parametrize("n", [0, -1, 60])
def test_an_impossible_share_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="n:"):
        RateLimits().share(n)


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="'gold' is not one of default, vip, svip"):
        RateLimits.for_group("gold")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "make",
    [
        lambda: RateLimits(submit_per_second=0),
        lambda: RateLimits(query_per_second=float("nan")),
        lambda: RateLimits(submit_burst=0),
        lambda: RateLimits(query_burst=-1),
    ],
)
def test_impossible_limits_are_refused(make: Callable[[], RateLimits]) -> None:
    with pytest.raises(ValueError, match="RateLimits"):
        make()


def test_the_svip_rate_can_be_used() -> None:
    limits = RateLimits.for_group("svip")
    sent = send_all(Pacer(limits.query_per_second, limits.query_burst), [0.0] * 10_000)
    assert 10_000 / sent[-1] >= 400


def test_a_refusal_pauses_everybody_for_as_long_as_it_says() -> None:
    pacer = Pacer(45, 45)
    pacer.take(0.0)
    assert pacer.throttled(1.0, sent_at=0.0, retry_after=7.0) == 8.0
    assert pacer.delay(1.0) == 7.0
    assert pacer.delay(8.0) == 0.0


def test_absurd_pauses_are_cut_to_five_minutes() -> None:
    assert Pacer(45, 45).throttled(0.0, sent_at=0.0, retry_after=1e9) == 300.0


def test_refusals_without_a_hint_pause_two_seconds_doubling_by_round() -> None:
    pacer = Pacer(45, 45)
    assert pacer.throttled(0.0, sent_at=0.0, retry_after=None) == 2.0
    assert pacer.throttled(2.5, sent_at=2.0, retry_after=None) == 6.5
    assert pacer.throttled(7.5, sent_at=7.0, retry_after=None) == 15.5
    pacer.answered()
    assert pacer.throttled(20.0, sent_at=19.0, retry_after=None) == 22.0


def test_a_late_refusal_without_a_hint_prolongs_nothing() -> None:
    pacer = Pacer(45, 45)
    assert pacer.throttled(1.0, sent_at=0.9, retry_after=None) == 3.0
    assert pacer.throttled(2.9, sent_at=0.95, retry_after=None) == 3.0


def test_one_round_of_refusals_slows_down_once() -> None:
    many = Pacer(45, 45)
    for _ in range(50):
        many.throttled(1.0, sent_at=0.9, retry_after=1.0)
    assert send_all(many, [2.0] * 100) == send_all(_slowed_once(), [2.0] * 100)


def test_each_further_round_slows_down_again() -> None:
    pacer = _slowed_once()
    pacer.throttled(2.0, sent_at=2.0, retry_after=1.0)
    assert send_all(pacer, [3.0] * 100)[-1] > send_all(_slowed_once(), [3.0] * 100)[-1] + 1.0


def _slowed_once() -> Pacer:
    pacer = Pacer(45, 45)
    pacer.throttled(1.0, sent_at=0.9, retry_after=1.0)
    return pacer


def test_after_a_refusal_there_is_no_burst_and_less_rate() -> None:
    sent = send_all(_slowed_once(), [2.0] * 28)
    assert sent[0] == 2.0
    assert sent[1] - sent[0] > 0.03
    assert sent[-1] - sent[0] > 0.9


def test_rate_and_burst_recover_fully_in_a_quiet_minute() -> None:
    pacer = _slowed_once()
    pacer.delay(70.0)
    sent = send_all(pacer, [70.0] * 90)
    fresh = send_all(Pacer(45, 45), [0.0] * 90)
    assert sent[-1] - sent[0] == pytest.approx(fresh[-1] - fresh[0])


def test_rounds_of_refusals_never_stop_it() -> None:
    pacer = Pacer(45, 45)
    now = 0.0
    for _ in range(100):
        now = pacer.throttled(now, sent_at=now, retry_after=1.0)
    sent = send_all(pacer, [now] * 3)
    assert sent[-1] - sent[0] <= 4.1


def test_days_of_refusals_without_a_hint_pause_five_minutes_each() -> None:
    pacer = Pacer(45, 45)
    ends = [0.0]
    for _ in range(2000):
        ends.append(pacer.throttled(ends[-1], sent_at=ends[-1], retry_after=None))
    assert ends[-1] - ends[-2] == 300


def _eased_off(*moments: float) -> Pacer:
    pacer = Pacer(45, 45)
    for now in moments:
        pacer.ease(now)
        assert pacer.delay(now) == 0.0
    return pacer


def test_a_budget_that_runs_out_slows_down_without_a_pause_once_in_ten_seconds() -> None:
    once = send_all(_eased_off(1.0), [11.0] * 100)
    assert once[-1] > send_all(Pacer(45, 45), [11.0] * 100)[-1] + 0.5
    assert send_all(_eased_off(1.0, 1.1, 5.0, 10.9), [11.0] * 100) == pytest.approx(once)
    assert send_all(_eased_off(1.0, 11.0), [11.0] * 100)[-1] > once[-1] + 0.5


def test_an_answer_that_always_says_so_leaves_half_the_rate() -> None:
    pacer = Pacer(45, 45)
    now = 0.0
    while now < 600:
        now += pacer.delay(now)
        pacer.ease(now)
        pacer.take(now)
    sent = send_all(pacer, [now] * 50)
    assert 49 / (sent[-1] - sent[0]) >= 0.45 * 45


def test_a_refusal_after_easing_off_pauses_all_the_same() -> None:
    pacer = Pacer(45, 45)
    pacer.take(0.0)
    pacer.ease(1.0)
    assert pacer.throttled(1.1, sent_at=0.0, retry_after=None) == 3.1
