"""A large batch under a faulty service, killed again and again, and what must hold all the while."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from attrs import field, frozen

from toapis_async import JournalError
from toapis_async._files.manifest import NAME, read_manifest
from toapis_async._journal import Row, read_rows
from toapis_async.testing import FAIL_MARKER, Drop, Fault, LogNormal, Simulator, faults
from toapis_async.testing.pictures import draw

from .killing import Arena, Delivered, Moment, Run, What
from .victim import PICTURES, prompts

_ENDS: Final = {"completed", "failed"}
_MOST_KILLS: Final = 60
_MOMENTS: Final[tuple[tuple[What, int, float], ...]] = (  # what is counted, from which number on, up to how many
    ("submit", 1, 0.25),  # of each request
    ("query", 1, 1.0),
    ("file", 1, 0.25),
    ("outcome", 1, 0.5),
    ("time", 30, 100),  # hundredths of a second; an interpreter needs some to start
)


def faulty_service(seed: int, *, truthful: bool) -> Simulator:
    """Make a service that loses answers, refuses and drops; a truthful one answers every question."""
    paid: list[Fault] = [
        faults.drop(when="before", kind="submit", times=None, probability=0.03),
        faults.gateway_page(502, when="before", kind="submit", times=None, probability=0.02),
        faults.throttle(0.1, kind="submit", times=2, probability=0.02),
        faults.limiter_down(0.1, times=1, probability=0.02),
        faults.drop(when="after", kind="submit", times=None, probability=0.06),
        faults.error(500, "internal_error", when="after", kind="submit", times=None, probability=0.03),
        faults.gateway_page(502, when="after", kind="submit", times=None, probability=0.03),
        faults.truncate(kind="submit", times=None, probability=0.02),
        faults.delay(0.2, when="after", kind="submit", times=None, probability=0.1),
    ]
    free: list[Fault] = [
        faults.invisible(0.4, probability=0.5),
        faults.drop(when="before", kind="query", times=None, probability=0.03),
        faults.panic(500, when="after", kind="query", times=None, probability=0.03),
        faults.gateway_page(504, when="before", kind="query", times=None, probability=0.03),
        faults.glue(kind="query", times=None, probability=0.05),
        faults.throttle(0.1, kind="query", times=2, probability=0.005),
    ]
    slow = faults.dribble(256, 0.02, kind="file", times=None, probability=0.3)
    chosen = [*paid, slow] if truthful else [*paid, *free, slow]
    return Simulator(limits=None, seed=seed, durations=LogNormal(0.3), faults=chosen)


def moments(dice: Random, requests: int) -> Iterator[Moment | None]:
    """Draw when to kill the next run; later and later, and at last never, so that an end is reached."""
    patience = 1.0
    for _ in range(_MOST_KILLS):
        what, first, most = dice.choice(_MOMENTS)
        span = most * patience * (1 if what == "time" else requests)
        yield Moment(what, first + int(dice.random() ** 2 * span))  # rather early, when most is in the air
        patience *= 1.1
    yield None


@frozen(kw_only=True)
class Report:
    """What became of one batch."""

    seed: int
    runs: int
    kills: int
    requests: int
    accepted: int
    delivered: int
    unresolved: int
    violations: tuple[str, ...]
    """What must not happen and did."""


@frozen
class Account:
    """What is known of a batch from outside: compared after every run."""

    arena: Arena
    violations: list[str] = field(init=False, factory=list[str])
    _posting: set[str] = field(init=False, factory=set[str])
    _ends: dict[str, Delivered] = field(init=False, factory=dict[str, Delivered])

    def look(self, run: Run) -> None:
        """Compare what is on disk, at the service and delivered, with nobody running."""
        if not run.killed and run.code:
            self._blame(f"run {len(self.arena.runs)} ended with {run.code}: {run.errors[-2000:]}")
        if "Traceback" in run.errors:
            self._blame(f"a traceback: {run.errors[-2000:]}")
        rows = {row.request.prompt: row for row in self._rows(run)}
        self._compare_rows(rows)
        self._compare_outcomes(run, rows)
        if run.killed:
            self._posting.update(prompt for prompt, row in rows.items() if row.state == "posting")

    def close(self, last: Run, *, resubmit: bool) -> None:
        """Compare when a run has ended by itself."""
        asked = prompts(self.arena.requests)
        told = {outcome.prompt: outcome for outcome in last.delivered}
        if sorted(outcome.prompt for outcome in last.delivered) != sorted(asked):
            self._blame(f"the last run delivered {len(last.delivered)} outcomes of {len(told)} requests")
        paid = Counter(charge.prompt for charge in self.arena.simulator.charges)
        for prompt, outcome in told.items():
            usual = "failed" if FAIL_MARKER in prompt else "completed"
            if outcome.state == usual and paid[prompt] == 1:
                continue
            lost = prompt in self._posting or prompt in self._lost_before()
            if outcome.state != "unresolved" or paid[prompt] or resubmit or not lost:
                self._blame(f"{outcome}, paid {paid[prompt]} times, might be lost: {lost}")
        self._compare_pictures(last)

    def _compare_rows(self, rows: dict[str, Row]) -> None:
        charges = self.arena.simulator.charges
        for prompt, times in Counter(charge.prompt for charge in charges).items():
            if times > 1:
                self._blame(f"{prompt!r} was paid {times} times")
        for charge in charges:
            row = rows.get(charge.prompt)
            if row is None or row.state == "queued" or row.client_business_id != charge.client_business_id:
                self._blame(f"the journal does not tell that {charge} may be paid: {row}")
            elif row.task_id not in {None, charge.task_id}:
                self._blame(f"the journal has another id than {charge}: {row}")

    def _rows(self, run: Run) -> list[Row]:
        try:
            return list(read_rows(self.arena.journal))
        except JournalError as error:
            # Killed while it was made: there is no journal yet, and nothing may be paid.
            if not run.killed or self.arena.simulator.charges:
                self._blame(f"the journal cannot be read: {error}")
            return []

    def _compare_outcomes(self, run: Run, rows: dict[str, Row]) -> None:
        for what, times in Counter(outcome.prompt for outcome in run.delivered).items():
            if times > 1:
                self._blame(f"{what!r} was delivered {times} times in one run")
        if len({outcome.key for outcome in run.delivered}) < len(run.delivered):
            self._blame("a key was delivered twice in one run")
        for outcome in run.delivered:
            row = rows.get(outcome.prompt)
            if row is None or row.task_id != outcome.task_id:
                self._blame(f"{outcome} was told before it was written")
            elif not run.killed and row.state != outcome.state:
                self._blame(f"{outcome} left the row {row}")
            before = self._ends.get(outcome.prompt)
            if before and (before.state, before.task_id) != (outcome.state, outcome.task_id):
                self._blame(f"delivered as {before}, later as {outcome}")
            if outcome.state in _ENDS:
                self._ends[outcome.prompt] = outcome

    def _lost_before(self) -> set[str]:
        """Return the prompts of paid requests that a fault kept from being accepted, without saying so."""
        return {
            json.loads(record.body)["prompt"]
            for record in self.arena.simulator.requests
            if record.kind == "submit" and record.body
            for fault in record.faults
            if fault.when == "before" and (isinstance(fault.action, Drop) or record.status == 502)
        }

    def _compare_pictures(self, last: Run) -> None:
        folder = self.arena.folder / PICTURES
        found = {path.name: path for path in _files(folder) if path.name != NAME}
        wanted = {f"{done.key}-0.png": done.prompt for done in last.delivered if done.state == "completed"}
        if found.keys() != wanted.keys():
            self._blame(f"pictures: {sorted(found.keys() ^ wanted.keys())} are missing or too many")
        for name in found.keys() & wanted.keys():
            if found[name].read_bytes() != draw(wanted[name], 0):
                self._blame(f"{name} is not whole")
        noted = {record["key"]: (record["state"], record["task_id"]) for record in read_manifest(folder)}
        for done in last.delivered:
            if noted.get(done.key) != (done.state, done.task_id):
                self._blame(f"the manifest says {noted.get(done.key)} of {done.key}")

    def _blame(self, text: str) -> None:
        if text not in self.violations:
            self.violations.append(text)


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


async def run_with_kills(seed: int, folder: Path, *, requests: int, resubmit: bool, window: float = 2.0) -> Report:
    """Run a batch, kill it at moments that the seed draws, and run it again until it ends."""
    dice = Random(seed)
    with faulty_service(seed, truthful=resubmit) as simulator:
        arena = Arena(simulator=simulator, folder=folder, requests=requests, window=window)
        account = Account(arena)
        plan = moments(dice, requests)
        while (run := await arena.run(next(plan), resubmit=resubmit)).killed:
            account.look(run)
        account.look(run)
        account.close(run, resubmit=resubmit)
        return Report(
            seed=seed,
            runs=len(arena.runs),
            kills=sum(run.killed for run in arena.runs),
            requests=requests,
            accepted=len(simulator.charges),
            delivered=len(run.delivered),
            unresolved=sum(outcome.state == "unresolved" for outcome in run.delivered),
            violations=tuple(account.violations),
        )
