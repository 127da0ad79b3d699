"""Delay against polls, one panel for each workload."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from benchmarks.polling.optimum import Point, best_of
from benchmarks.polling.peers import EXPONENTIAL, PEERS
from benchmarks.polling.results import Results
from benchmarks.polling.workloads import MOVING, SIX

_OURS: Final = "#c1121f"
_OPTIMUM: Final = "#333333"
_FIXED_COLOUR: Final = "#2b5c93"
_GROWING_COLOUR: Final = "#b36b00"
_PLOTTED: Final = (5, 12)  # settings of `polls`
_POLLS: Final = (0.9, 700)
_DELAYS: Final = (0.15, 60)
_POLL_TICKS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_DELAY_TICKS: Final = (0.2, 0.5, 1, 2, 5, 10, 20, 50)
_COLUMNS: Final = 3
_DPI: Final = 100
_FONT: Final = 10  # points
_LETTER: Final = 0.7  # of the font's size


def draw(found: Results, path: Path) -> None:
    """Write a PNG."""
    names = [*SIX, *MOVING]
    figure: Any = Figure(figsize=(17, 16), dpi=_DPI, layout="constrained")
    panels = figure.subplots(len(names) // _COLUMNS, _COLUMNS)
    for name, panel in zip(names, panels.flat, strict=True):
        _draw_panel(panel, found, name)
    for row in panels:
        row[0].set_ylabel("delay, seconds (mean)")
    for panel in panels[-1]:
        panel.set_xlabel("status requests per task (mean)")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=12)
    key = [Line2D([], [], color=_colour(who), marker="o", linestyle="") for who in PEERS]
    named = [f"{number} {who}" for number, who in enumerate(PEERS, 1)]
    figure.legend(key, named, loc="outside lower center", ncols=len(PEERS) // 2, frameon=False, fontsize=12)
    figure.draw_without_rendering()  # the labels need to know where the dots are
    for name, panel in zip(names, panels.flat, strict=True):
        _label_peers(panel, found, name)
    figure.savefig(path, format="png")


def _draw_panel(panel: Any, found: Results, name: str) -> None:
    panel.set(xscale="log", yscale="log", xlim=_POLLS, ylim=_DELAYS)
    panel.set_title(name, loc="left", fontsize=13, fontweight="bold")
    panel.grid(visible=True, which="major", color="#e4e4e4", linewidth=0.7)
    for axis, ticks in ((panel.xaxis, _POLL_TICKS), (panel.yaxis, _DELAY_TICKS)):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    panel.plot(*zip(*best_of(found.best[name]), strict=True), color=_OPTIMUM, linestyle="--", label="optimum")
    panel.plot(
        *zip(*_curve(found, name), strict=True),
        color=_OURS,
        linewidth=2.5,
        label=f"ours, polls={_PLOTTED[0]} to {_PLOTTED[1]}, no floor",
    )
    panel.plot(*found.default[name].point, "*", color=_OURS, markersize=16, label="ours by default", zorder=5)
    for colour, kind in ((_FIXED_COLOUR, "fixed interval"), (_GROWING_COLOUR, "backoff")):
        points = [found.peers[who, name].point for who in PEERS if _colour(who) == colour]
        panel.plot(*zip(*points, strict=True), "o", color=colour, markersize=5.5, label=f"peers, {kind}")


def _curve(found: Results, name: str) -> list[Point]:
    low, high = _PLOTTED
    return sorted(cost.point for polls, cost in found.curves[name].items() if low <= polls <= high)


def _colour(who: str) -> str:
    return _GROWING_COLOUR if who in EXPONENTIAL or who == "comfy-sdk" else _FIXED_COLOUR


class _Box(NamedTuple):
    """In pixels from the lower left."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: _Box) -> bool:
        apart = self.right < other.left or other.right < self.left or self.top < other.bottom or other.top < self.bottom
        return not apart

    def distance(self, x: float, y: float) -> float:
        return math.hypot(max(self.left - x, x - self.right, 0), max(self.bottom - y, y - self.top, 0))

    def is_inside(self, other: _Box) -> bool:
        return (
            other.left <= self.left
            and self.right <= other.right
            and other.bottom <= self.bottom
            and self.top <= other.top
        )


def _label_peers(panel: Any, found: Results, name: str) -> None:
    """Write each peer's number where nothing else is, as near to its dot as that goes; names would hide the curves."""

    def pixels(point: Point) -> tuple[float, float]:
        x, y = panel.transData.transform(point)
        return float(x), float(y)

    frame = _Box(*map(float, panel.bbox.extents))
    dots = {who: pixels(found.peers[who, name].point) for who in PEERS}
    curve = [pixels(point) for point in (*_densified(_curve(found, name)), *_densified(best_of(found.best[name])))]
    taken = [_around(x, y, 5) for x, y in dots.values()] + [_around(x, y, 2) for x, y in curve]
    taken.append(_around(*pixels(found.default[name].point), 11))
    for number, (who, (x, y)) in enumerate(dots.items(), 1):
        box = _free_box(x, y, str(number), taken, frame)
        taken.append(box)
        panel.annotate(
            str(number),
            (box.left, (box.bottom + box.top) / 2),
            xycoords="figure pixels",
            va="center",
            fontsize=_FONT,
            fontweight="bold",
            color=_colour(who),
        )


def _around(x: float, y: float, radius: float) -> _Box:
    return _Box(x - radius, y - radius, x + radius, y + radius)


def _densified(points: Sequence[Point]) -> Iterable[Point]:
    for before, after in pairwise(points):
        for i in range(8):
            yield Point(*(low * (high / low) ** (i / 8) for low, high in zip(before, after, strict=True)))


def _free_box(x: float, y: float, text: str, taken: Sequence[_Box], frame: _Box) -> _Box:
    scale = _DPI / 72
    width, height = len(text) * _FONT * _LETTER * scale, _FONT * 0.85 * scale
    candidates = [
        _Box(left, y + up - height / 2, left + width, y + up + height / 2)
        for up in range(-40, 41, 2)
        for left in (x + 7, x + 13, x - width / 2, x - 7 - width, x - 13 - width)
    ]
    candidates.sort(key=lambda box: box.distance(x, y))
    free = (box for box in candidates if box.is_inside(frame) and not any(map(box.overlaps, taken)))
    return next(free, candidates[0])
