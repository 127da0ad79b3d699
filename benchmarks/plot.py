"""CPU per status query by client, as a multiple of the loop written by hand (matplotlib, extra `bench`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from matplotlib.figure import Figure

from benchmarks.cpu import WORKLOADS
from benchmarks.peers import PEERS
from benchmarks.table import Point

_COLOURS: Final = {
    "batch": "#0a5fb4",
    "batch, equal waits": "#6fa8dc",
    "tuned by hand": "#3a8f3a",
    "openai": "#b03030",
    "runwayml": "#d06a20",
    "replicate": "#8a4fa0",
    "fal-client": "#7a6a50",
}
_GREY: Final = "#444444"
_SMALL: Final = 7
_STEP: Final = 0.125
_TICKS: Final = (0.3, 0.5, 0.8, 1, 2, 3, 5, 10, 20, 30, 50, 100)


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw the medians, and the range over all rounds."""
    figure: Any = Figure(figsize=(11, 5.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    labels = [workload.label for workload in WORKLOADS if any(each.workload == workload.label for each in points)]
    for place, label in enumerate(labels):
        here = [point for point in points if point.workload == label and point.ratios]
        for number, point in enumerate(here):
            _draw_point(axes, point, place + (number - (len(here) - 1) / 2) * _STEP)
            if point.target is not None:
                _draw_target(axes, point.target, place)
    axes.axhline(1, color=_GREY, linewidth=1)
    axes.annotate("by hand", (-0.5, 1), (2, 2), textcoords="offset points", fontsize=_SMALL, color=_GREY)
    axes.set_yscale("log")
    axes.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.minorticks_off()
    values = [value for point in points for value in point.ratios]
    axes.set_ylim(0.85 * min(0.4, *values), 1.25 * max(1.5, *values))
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylabel("CPU per status query, as a multiple of the loop's")
    axes.set_title(
        "CPU per status query beside a loop written by hand on aiohttp: less is better", loc="left", fontsize=11
    )
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    for client in dict.fromkeys(point.client for point in points):
        axes.plot([], [], marker=_marker(client), linestyle="", color=_COLOURS[client], label=client)
    figure.legend(fontsize=9, loc="outside right upper", frameon=False)
    figure.savefig(path, format="png")


def _draw_point(axes: Any, point: Point, x: float) -> None:
    colour, middle = _COLOURS[point.client], median(point.ratios)
    axes.vlines(x, min(point.ratios), max(point.ratios), color=colour, linewidth=6, alpha=0.3)
    axes.plot([x], [middle], marker=_marker(point.client), color=colour, markersize=6)
    text = f"{middle:.2f}" if middle < 3 else f"{middle:.1f}" if middle < 10 else f"{middle:.0f}"
    above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center"}
    axes.annotate(text, (x, max(point.ratios)), fontsize=_SMALL, color=colour, **above)


def _draw_target(axes: Any, target: float, place: int) -> None:
    colour = _COLOURS["batch"]
    axes.hlines(target, place - 0.4, place + 0.47, color=colour, linestyle="--", linewidth=1)
    below = {
        "xytext": (0, -9),
        "textcoords": "offset points",
        "ha": "right",
    }  # where only dear clients have their place
    axes.annotate(f"target {target:.2f}", (place + 0.47, target), fontsize=_SMALL, color=colour, **below)


def _marker(client: str) -> str:
    return "s" if client in PEERS else "o"
