"""Waits grow, are clamped before they are jittered, and nonsense is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toapis_async import Backoff, RetryPolicy


def middle() -> float:
    return 0.5


def test_waits_grow_by_the_factor_up_to_the_maximum() -> None:
    backoff = Backoff(initial=2, factor=1.5, maximum=6)
    assert [backoff.wait(number, middle) for number in range(5)] == [2.0, 3.0, 4.5, 6.0, 6.0]


def test_jitter_is_put_on_after_clamping() -> None:
    backoff = Backoff(initial=10, maximum=10, jitter=0.1)
    assert backoff.wait(3, lambda: 0.0) == pytest.approx(9.0)
    assert backoff.wait(3, lambda: 1.0) == pytest.approx(11.0)


def test_the_thousandth_wait_is_the_maximum() -> None:
    assert Backoff(factor=1e6).wait(1000, middle) == 30.0


def test_times_may_be_timedeltas() -> None:
    backoff = Backoff(initial=timedelta(seconds=1), maximum=timedelta(minutes=1), deadline=timedelta(hours=1))
    assert (backoff.initial, backoff.maximum, backoff.deadline) == (1.0, 60.0, 3600.0)
    assert RetryPolicy(lookup_window=timedelta(minutes=2)).lookup_window == 120.0


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(1, 10), st.floats(0.01, 1000), st.floats(0, 0.99))
def test_a_wait_is_positive_and_bounded(
    number: int, initial: float, factor: float, maximum: float, jitter: float
) -> None:
    wait = Backoff(initial=initial, factor=factor, maximum=maximum, jitter=jitter).wait(number, random.random)
    assert 0 < wait <= maximum * (1 + jitter)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Backoff(initial=0), "Backoff.initial: 0.0"),
        (lambda: Backoff(initial=-1), "Backoff.initial"),
        (lambda: Backoff(factor=0.9), "Backoff.factor"),
        (lambda: Backoff(maximum=float("inf")), "Backoff.maximum"),
        (lambda: Backoff(jitter=1), "Backoff.jitter"),
        (lambda: Backoff(deadline=float("nan")), "Backoff.deadline"),
        (lambda: RetryPolicy(attempts=0), "RetryPolicy.attempts"),
        (lambda: RetryPolicy(lookup_window=0), "RetryPolicy.lookup_window"),
        (lambda: RetryPolicy(max_throttle=-1), "RetryPolicy.max_throttle"),
    ],
)
def test_impossible_values_are_refused(make: Callable[[], Any], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        make()
