"""What other clients do, by the constants in their sources, and the textbook schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, TypeAlias

from attrs import frozen

Wait: TypeAlias = Callable[[int, float, Random], float]
"""Seconds to sleep after look `number` found the task running at `age`; 0 is the sleep before the first look."""
Retry: TypeAlias = Callable[[int, float, Random], float | None]
"""Seconds to sleep after refusal `number` in a row, counted from 1; None if the client raises out of its wait."""


@frozen
class Peer:
    image: Wait
    video: Wait
    retry: Retry

    def wait(self, kind: str) -> Wait:
        return self.video if kind == "video" else self.image


def fixed(interval: float, *, first: float | None = None, jitter: float = 0.0) -> Wait:
    """Sleep `interval` seconds, more or less by `jitter`."""

    def wait(number: int, _: float, random: Random) -> float:
        if number == 0 and first is not None:
            return first
        return interval + jitter * (2 * random.random() - 1)

    return wait


def growing(initial: float, factor: float, longest: float = 1e9, *, at_once: bool = False, full: bool = False) -> Wait:
    """Back off exponentially; `full` jitter sleeps anything from nothing to that."""

    def wait(number: int, _: float, random: Random) -> float:
        if at_once and number == 0:
            return 0.0
        ceiling = min(initial * factor ** min(number - at_once, 200), longest)
        return random.uniform(0, ceiling) if full else ceiling

    return wait


def proportional(share: float) -> Wait:
    """Sleep a share of the task's age."""

    def wait(number: int, age: float, random: Random) -> float:
        return (1 + share) ** random.random() if number == 0 else max(share * age, 0.05)

    return wait


def _smithy(number: int, _: float, random: Random) -> float:
    return random.uniform(2, min(120, 2 * 2.0 ** min(number, 10))) if number else 2.0


def _raises_after(tries: int) -> Retry:
    return lambda number, hint, random: hint if number <= tries else None


def _fal_retry(number: int, _: float, random: Random) -> float | None:
    return min(0.1 * 2 ** (number - 1), 30) * random.uniform(0.5, 1.5) if number < 10 else None


def _docs_retry(_: int, hint: float, random: Random) -> float:
    return hint + random.random()


def _same(wait: Wait, retry: Retry) -> Peer:
    return Peer(wait, wait, retry)


# Tries of those without a source for them are taken to be 10, with Retry-After respected: they look better for it.
PEERS: Final[Mapping[str, Peer]] = {
    "fal-client 0.1 s": _same(fixed(0.1, first=0), _fal_retry),
    "replicate 0.5 s": _same(fixed(0.5), _raises_after(10)),
    "openai 1 s": _same(fixed(1, first=0), _raises_after(2)),
    "luma docs 2 s": _same(fixed(2), _raises_after(2)),
    "runwayml 6 s": _same(fixed(6, jitter=1.5), _raises_after(2)),
    "google docs 10 s": _same(fixed(10), _raises_after(10)),
    "google-genai LRO": _same(growing(1, 1.5, 20, at_once=True), _raises_after(10)),
    "google-api-core": _same(growing(1, 1.5, 20, at_once=True, full=True), _raises_after(10)),
    "smithy waiter": _same(_smithy, _raises_after(10)),
    "comfy-sdk": _same(growing(0.5, 1.5, 5), _raises_after(10)),
    "plain 1*2^n": _same(growing(1, 2, 30), _raises_after(10)),
    "ToAPIs docs": Peer(fixed(5.5, first=5, jitter=0.5), fixed(10.5, first=5, jitter=0.5), _docs_retry),
}
EXPONENTIAL: Final = ("google-api-core", "google-genai LRO", "smithy waiter", "plain 1*2^n")
FIXED: Final = ("openai 1 s", "luma docs 2 s", "runwayml 6 s", "google docs 10 s", "ToAPIs docs")
