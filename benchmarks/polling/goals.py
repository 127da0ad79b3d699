"""What the schedule has to reach, and whether it does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final

from attrs import frozen

from benchmarks.polling.measure import Cost
from benchmarks.polling.optimum import Point, delay_at
from benchmarks.polling.peers import EXPONENTIAL, FIXED
from benchmarks.polling.results import EXPONENTIALS, OURS, Results
from benchmarks.polling.scenarios import DOCUMENTED, TENTH
from benchmarks.polling.workloads import MOVING, SIX, TRACES

_BUDGETS: Final = (5, 6, 7, 8, 9, 10, 11, 12)
_FEW_POLLS: Final = 20
_DEFAULT_DELAYS: Final = {
    "fast image": 1.3,
    "trace image": 1.4,
    "slow image": 4.6,
    "video": 5.2,
    "heavy tail": 2.1,
    "bimodal": 1.6,
}


@frozen
class Part:
    """One figure of a goal: what was measured, and the most that it may be."""

    what: str
    measured: float
    target: float
    where: str = ""

    @property
    def excess(self) -> float:
        return max(0.0, self.measured - self.target)

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"{self.what} {_short(self.measured)} {'>' if self.excess else '<='} {_short(self.target)}{where}"


@frozen
class Goal:
    number: int
    title: str
    parts: Sequence[Part]

    def __str__(self) -> str:
        excess = [_excess(part.excess) for part in self.parts if part.excess]
        verdict = f"falls short by {', '.join(excess)}" if excess else "holds"
        return f"{self.number:2}  {verdict}: {self.title}: {'; '.join(map(str, self.parts))}"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _excess(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def goals(found: Results) -> list[Goal]:
    """Judge all of them."""
    return [
        Goal(1, "x the optimum at 5 to 12 polls", _near_the_optimum(found)),
        Goal(2, f"{len(TRACES)} of 6 traced models, by quantiles", _on_traces(found)),
        Goal(3, "x exponential peers at their polls", _beside_exponential(found)),
        Goal(4, "x peers with fixed intervals at their polls", _beside_fixed(found)),
        Goal(5, f"mixed models, x peers of up to {_FEW_POLLS} polls", _mixed(found)),
        Goal(6, "defaults", _defaults(found)),
        Goal(7, "durations that change", _changing(found)),
        Goal(8, f"herd of up to {max(size for _, size in found.herd):,}, requests in any window", _herd(found)),
        Goal(9, "429s", _throttled(found)),
        Goal(10, "cost", _cost(found)),
    ]


def _worst(what: str, cells: Mapping[str, float] | Mapping[str, float | None], target: float) -> Part:
    known = {where: value for where, value in cells.items() if value is not None}
    where = max(known, key=known.__getitem__)
    return Part(what, known[where], target, where)


def _ratio(ours: Iterable[Point], other: Point) -> float | None:
    delay = delay_at(ours, other.polls)
    return None if delay is None else delay / other.delay


def our_curve(found: Results, name: str) -> list[Point]:
    return [cost.point for cost in found.curves[name].values()]


def ratio_to_peer(found: Results, peer: str, name: str) -> float | None:
    """Return our delay at the peer's polls, divided by the peer's; None where ours never costs as few or many."""
    return _ratio(our_curve(found, name), found.peers[peer, name].point)


def mean_ratio(found: Results, peer: str) -> float | None:
    """Return the geometric mean over the workloads where there is a ratio."""
    ratios = [ratio for name in SIX if (ratio := ratio_to_peer(found, peer, name)) is not None]
    return math.exp(fmean(map(math.log, ratios))) if ratios else None


def ratio_to_optimum(found: Results, name: str, polls: float) -> float | None:
    ours = delay_at(our_curve(found, name), polls)
    best = delay_at(found.best[name], polls)
    return None if ours is None or best is None else ours / best


def _near_the_optimum(found: Results) -> list[Part]:
    ratios = {f"{name} at {polls} polls": ratio_to_optimum(found, name, polls) for name in SIX for polls in _BUDGETS}
    easy = {where: ratio for where, ratio in ratios.items() if where.startswith(("fast image", "trace image"))}
    return [_worst("six workloads", ratios, 1.75), _worst("fast and trace image", easy, 1.35)]


def _to_curve(cost: Cost, curve: Iterable[Point]) -> float:
    other = delay_at(curve, cost.polls)
    return math.inf if other is None else cost.delay / other


def _on_traces(found: Results) -> list[Part]:
    optimum = {name: _to_curve(found.at_8[name], found.best[name]) for name in TRACES}
    fixed = {name: _to_curve(found.at_8[name], found.fixed[name]) for name in TRACES}
    return [_worst("x the optimum", optimum, 1.5), _worst("x tuned fixed", fixed, 0.9)]


def _cells(found: Results, peers: Iterable[str]) -> dict[str, float | None]:
    return {f"{peer}, {name}": ratio_to_peer(found, peer, name) for peer in peers for name in SIX}


def _worst_cell(cells: Mapping[str, float | None], target: float) -> Part:
    out_of_reach = [where for where, ratio in cells.items() if ratio is None]
    without = f" (but for {'; '.join(out_of_reach)}: no setting asks as often)" if out_of_reach else ""
    return _worst(f"each{without}", cells, target)


def _means(found: Results, peers: Iterable[str]) -> dict[str, float | None]:
    return {peer: mean_ratio(found, peer) for peer in peers}


def _beside_exponential(found: Results) -> list[Part]:
    return [
        _worst_cell(_cells(found, EXPONENTIAL), 0.45),
        _worst("geometric mean", _means(found, EXPONENTIAL), 0.33),
        _worst("geometric mean", _means(found, ["comfy-sdk"]), 0.55),
    ]


def _beside_fixed(found: Results) -> list[Part]:
    return [
        _worst_cell(_cells(found, FIXED), 1.05),
        _worst("geometric mean", _means(found, FIXED), 0.80),
    ]


def _mixed(found: Results) -> list[Part]:
    few = {who: cost for who, cost in found.mixed_peers.items() if cost.polls <= _FEW_POLLS}
    absolute = [cost.point for cost in found.mixed]
    relative = [Point(cost.polls, cost.relative) for cost in found.mixed]
    delays = {who: _ratio(absolute, cost.point) for who, cost in few.items()}
    shares = {who: _ratio(relative, Point(cost.polls, cost.relative)) for who, cost in few.items()}
    return [
        _worst("mean delay", delays, 0.78),
        _worst("delay by duration", shares, 0.5),
    ]


def _defaults(found: Results) -> list[Part]:
    polls = {name: found.default[name].polls for name in SIX}
    batch = {name: found.batch[name].polls for name in SIX}
    delays = [Part(name, found.default[name].delay, target) for name, target in _DEFAULT_DELAYS.items()]
    return [_worst("polls", polls, 10), _worst("in a cold batch of 100", batch, 12), *delays]


def _changing(found: Results) -> list[Part]:
    fixed = {name: _to_curve(found.at_8[name], found.fixed[name]) for name in MOVING}
    pure = {
        f"{label}, {name}": _to_curve(found.at_8[name], found.exponentials[label, name])
        for label in EXPONENTIALS
        for name in MOVING
    }
    return [
        _worst("drift and flip x tuned fixed", {name: fixed[name] for name in ("drift", "flip")}, 1.05),
        Part("memoryless x tuned fixed", fixed["memoryless"], 1.3),
        _worst("x exponentials", pure, 0.5),
    ]


def _herd(found: Results) -> list[Part]:
    ours = {f"N={size:,}": herd for (who, size), herd in found.herd.items() if who == OURS}
    return [
        _worst("100 ms", {size: herd.in_100_ms for size, herd in ours.items()}, 25),
        _worst("10 s", {size: herd.in_10_s for size, herd in ours.items()}, 500),
        _worst("a minute", {size: herd.in_60_s for size, herd in ours.items()}, 3000),
    ]


def _throttled(found: Results) -> list[Part]:
    documented, tenth = (found.throttled[OURS, limit[0]] for limit in (DOCUMENTED, TENTH))
    return [
        Part("waits lost at the documented limit", documented.lost, 0),
        Part("429s a task there", documented.refusals, 0.05),
        Part("waits lost at a tenth", tenth.lost, 0),
    ]


def _cost(found: Results) -> list[Part]:
    usage = found.footprint
    return [
        Part("us of CPU a poll", usage.microseconds, 25),
        Part("bytes a model", usage.per_model, 4096),
        Part("bytes a task", usage.per_task, 64),
    ]
