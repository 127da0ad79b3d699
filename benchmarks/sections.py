"""All benchmarks, by the names that the runner takes."""

from __future__ import annotations

from typing import Final, Protocol

from attrs import frozen

from benchmarks import cpu, downloads, imports, journal, latency, memory, peers, scale, schedule, submit
from benchmarks.table import Report


class Run(Protocol):
    def __call__(self, *, quick: bool) -> Report: ...


@frozen
class Section:
    title: str
    run: Run


SECTIONS: Final = {
    "cpu": Section("CPU per status query", cpu.run),
    "peers": Section("CPU per status query, other services' clients", peers.run),
    "submit": Section("CPU per paid request", submit.run),
    "memory": Section("Memory of waiting tasks", memory.run),
    "scale": Section("Very many tasks", scale.run),
    "imports": Section("Import, first session and command line", imports.run),
    "latency": Section("A heartbeat of 1 ms beside 1,000 waiting tasks", latency.run),
    "journal": Section("Throughput with a journal", journal.run),
    "downloads": Section("Polling while pictures come", downloads.run),
    "schedule": Section("The schedule's goals, in virtual time", schedule.run),
}
