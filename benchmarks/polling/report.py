"""The tables, and what a number in them means."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.polling.goals import goals, mean_ratio, ratio_to_optimum, ratio_to_peer
from benchmarks.polling.optimum import delay_at
from benchmarks.polling.peers import PEERS
from benchmarks.polling.results import HERD_PEERS, HERD_SIZES, OURS, Results, collect
from benchmarks.polling.scenarios import DOCUMENTED, TENTH
from benchmarks.polling.workloads import MOVING, SIX, TRACES

_MEANING: Final = """
Polling, simulated in virtual time: the package's own schedule and pacer beside other clients' schedules.

  polls    status requests for a task, mean
  delay    seconds from the service finishing a task to the client holding the answer that says so, mean; half a
           round trip of 0.15 s is in all of them
  optimum  the least delay any schedule can have at these polls that knows how long tasks take but not this one
  x 0.50   half the other's delay, where ours is set (`polls`, no floor) to cost as many polls as the other does

A session is 60 tasks, 4 in flight, and begins with nothing learned. All schedules see the same durations. The traced
workloads are quantiles of production requests (Alibaba GenTD26): the trace itself, its order and three of its six
models are not part of this repository. Everything but CPU is the same in each run. Other seeds give figures that
differ by 5 %, on the heavy tail by 10 %; with --quick by twice that, which can tip a goal.
"""


def main(*, quick: bool, plot: Path | None = None) -> None:
    started = time.perf_counter()
    print(_MEANING.strip())
    found = collect(quick=quick)
    _print_shipped(found)
    _print_ratios(found)
    _print_optimum(found)
    _print_changing(found)
    _print_mixed(found)
    _print_herd(found)
    _print_throttled(found)
    print("\nGoals")
    for goal in goals(found):
        print(goal)
    if plot is not None:
        from benchmarks.polling.plot import draw  # noqa: PLC0415 - matplotlib is needed for this only

        draw(found, plot)
        print(f"\nplot: {plot.resolve()}")
    print(f"\n{time.perf_counter() - started:.0f} s in all", flush=True)


def _table(title: str, columns: Iterable[str], rows: Iterable[tuple[str, Sequence[str]]]) -> None:
    print(f"\n{title}")
    print(f"{'':17}" + "".join(f"{column:>18}" for column in columns))
    for label, cells in rows:
        print(f"{label:17}" + "".join(f"{cell:>18}" for cell in cells))


def _number(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else format(value, form)


def _print_shipped(found: Results) -> None:
    costs = {who: [found.peers[who, name] for name in SIX] for who in PEERS}
    costs[OURS] = [found.default[name] for name in SIX]
    rows = [(who, [f"{cost.polls:.1f} / {cost.delay:.2f}" for cost in row]) for who, row in costs.items()]
    _table("As shipped: polls / delay", SIX, rows)


def _print_ratios(found: Results) -> None:
    rows = [
        (who, [*(_number(ratio_to_peer(found, who, name)) for name in SIX), _number(mean_ratio(found, who))])
        for who in PEERS
    ]
    _table("Ours at the peer's polls: x its delay ('-': more or fewer than was tried)", [*SIX, "mean"], rows)


def _print_optimum(found: Results) -> None:
    rows: list[tuple[str, list[str]]] = []
    for polls in (3, 5, 8, 12, 20):
        best = [_number(delay_at(found.best[name], polls)) for name in SIX]
        ratios = [_number(ratio_to_optimum(found, name, polls)) for name in SIX]
        rows.append((f"at {polls} polls", [f"{delay} / {ratio}" for delay, ratio in zip(best, ratios, strict=True)]))
    _table("The optimum: its delay / ours x that", SIX, rows)


def _print_changing(found: Results) -> None:
    rows: list[tuple[str, list[str]]] = []
    for name in [*MOVING, *TRACES]:
        cost = found.at_8[name]
        others = [found.best[name], found.fixed[name]]
        others += [found.exponentials[label, name] for label in ("x1.5", "x2", "by age") if name in MOVING]
        delays = [delay_at(other, cost.polls) for other in others]
        cells = [_number(None if delay is None else cost.delay / delay) for delay in delays]
        rows.append((name, [f"{cost.polls:.1f} / {cost.delay:.2f}", *cells]))
    columns = ["polls / delay", "x optimum", "x tuned fixed", "x exp. 1.5", "x exp. 2", "x share of age"]
    _table("Ours with polls=8 where durations change, and on the traced models", columns, rows)


def _print_mixed(found: Results) -> None:
    costs = {**found.mixed_peers, **{f"ours at {cost.polls:.1f}": cost for cost in found.mixed}}
    rows = [
        (label, [f"{cost.polls:.1f}", f"{cost.delay:.2f}", f"{100 * cost.relative:.1f} %"])
        for label, cost in costs.items()
    ]
    _table("Three models in one client", ["polls", "delay", "of duration"], rows)


def _print_herd(found: Results) -> None:
    rows: list[tuple[str, list[str]]] = []
    for who in [*HERD_PEERS, OURS]:
        herds = [found.herd.get((who, size)) for size in HERD_SIZES]
        rows.append((
            who,
            [f"{herd.in_100_ms} / {herd.polls:.1f} / {herd.delay:.1f}" if herd else "-" for herd in herds],
        ))
    columns = [f"N={size:,}" for size in HERD_SIZES]
    _table("N running tasks attached at once: most in 100 ms / polls / delay", columns, rows)


def _print_throttled(found: Results) -> None:
    for rate, burst in (DOCUMENTED, TENTH):
        rows: list[tuple[str, list[str]]] = []
        for who in [*PEERS, OURS]:
            cost = found.throttled[who, rate]
            cells = [f"{value:.2f}" for value in (cost.polls, cost.delay, cost.late, cost.refusals)]
            rows.append((who, [*cells, f"{100 * cost.lost:.1f} %"]))
        title = f"Bursts of 150 tasks, at most {rate:g} questions a second and {burst:g} at once"
        _table(title, ["polls", "delay", "95 in 100 in", "429s a task", "waits lost"], rows)
