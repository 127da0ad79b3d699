"""Measurements as processes of their own, interleaved in rounds.

Absolute figures drift by more than the differences that matter, within minutes. What is compared is therefore
measured in turn, and a ratio is taken between two measurements of the same round.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from attrs import field, frozen

Figures = Mapping[str, float]
"""What one measurement found, by name."""


class UnmeasuredError(Exception):
    """A measurement did not come to its end; the text says why."""


def measure(module: str, *arguments: object, timeout: float = 600.0) -> Figures:
    """Run a module in a fresh interpreter; it prints its figures as JSON, in its last line.

    Raises:
        UnmeasuredError: it failed, or took longer than `timeout` seconds.

    """
    return figures([sys.executable, "-m", module, *map(str, arguments)], timeout=timeout)


def figures(command: list[str], *, timeout: float = 600.0) -> Figures:
    """Run a command that prints figures; see `measure`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise UnmeasuredError(f"did not finish in {timeout:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UnmeasuredError(f"failed: {last[:150]}")
    return cast(dict[str, Any], json.loads(done.stdout.splitlines()[-1]))


@frozen
class Rounds:
    """What several measurements found, round by round."""

    found: Mapping[str, list[Figures | str]] = field(factory=dict[str, list[Figures | str]])
    """By measurement; a text says why there is nothing."""

    def values(self, name: str, figure: str) -> list[float]:
        return [each[figure] for each in self.found[name] if not isinstance(each, str)]

    def ratios(self, name: str, base: str, figure: str) -> list[float]:
        """Return a figure of one measurement divided by that of another, for all rounds that have both."""
        pairs = zip(self.found[name], self.found[base], strict=True)
        return [a[figure] / b[figure] for a, b in pairs if not isinstance(a, str) and not isinstance(b, str)]

    def differences(self, name: str, base: str, figure: str) -> list[float]:
        """Return the same as `ratios`, subtracted."""
        pairs = zip(self.found[name], self.found[base], strict=True)
        return [a[figure] - b[figure] for a, b in pairs if not isinstance(a, str) and not isinstance(b, str)]

    def remark(self, *names: str) -> str:
        """Say what could not be measured, so that no table hides it."""
        failures = {name: [each for each in self.found[name] if isinstance(each, str)] for name in names}
        return "; ".join(f"{name} {texts[0]}" for name, texts in failures.items() if texts)


def interleave(rounds: int, measurements: Mapping[str, Callable[[], Figures]]) -> Rounds:
    """Take all measurements in each round, every second time in the opposite order.

    One that did not come to its end is not tried again.
    """
    found: dict[str, list[Figures | str]] = {name: [] for name in measurements}
    for number in range(rounds):
        for name in list(measurements)[:: -1 if number % 2 else 1]:
            found[name].append(_once(measurements[name], found[name]))
    return Rounds(found)


def _once(measurement: Callable[[], Figures], earlier: Sequence[Figures | str]) -> Figures | str:
    failures = [each for each in earlier if isinstance(each, str)]
    if failures:
        return failures[0]
    try:
        return measurement()
    except UnmeasuredError as error:
        return str(error)


def most_memory() -> float:
    """Return the most MB of this process that ever were resident."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6
