"""Runs that are interrupted, looked at from outside, and gone on with by the very command they print."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from processes import running

from toapis_async.testing import faults

from .conftest import Ended, Serve, Spawn, Toapis, pictures
from .test_process import end, read_terminal, wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, shells and pseudo-terminals of Unix")


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Put the command where a shell finds it."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "toapis"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -W error -m toapis_async.cli "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


def run_last_line(err: str) -> Ended:
    """Give the last line of a run to a shell, as its user would."""
    go_on, line = err.splitlines()[-2:]
    assert go_on == "Go on with:"
    with running(["/bin/sh", "-c", line]) as child:
        return Ended(*end(child))


@pytest.mark.usefixtures("shell")
def test_an_interrupted_run_is_gone_on_with_by_the_command_it_prints(serve: Serve, spawn: Spawn) -> None:
    simulator = serve()
    out = "it's $HOME; a folder"
    prompts = [f"prompt {number}" for number in range(6)]
    Path("in.txt").write_text("\n".join(prompts))
    child = spawn("generate", "--from", "in.txt", "--out", out, "--max-in-flight", 3)
    wait_for(simulator, "submit", 2)
    child.send_signal(signal.SIGINT)
    returncode, _, err = end(child)
    assert returncode == 130
    Path("in.txt").unlink()
    paid = len(simulator.charges)
    assert 2 <= paid < 6
    resumed = run_last_line(err)
    assert resumed.code == 0, resumed.err
    assert Counter(charge.prompt for charge in simulator.charges) == dict.fromkeys(prompts, 1)
    assert len(pictures(out)) == 6
    assert sorted(map(Path, resumed.out.splitlines())) == pictures(out)
    assert f"6 of 6 saved in {out}" in resumed.err.splitlines()[-1]


@pytest.mark.usefixtures("shell")
def test_a_request_whose_answer_was_lost_is_looked_up_by_the_next_run(serve: Serve, spawn: Spawn) -> None:
    lost = faults.drop(when="after", kind="submit")
    unanswered = faults.hang(when="before", kind="query", times=None)
    simulator = serve(faults=[lost, unanswered])
    child = spawn("generate", "a fox", "an owl", "--max-in-flight", 1)
    wait_for(simulator, "submit", 1)
    child.send_signal(signal.SIGINT)
    returncode, _, err = end(child)
    (charge,) = simulator.charges
    assert returncode == 130
    assert f"toapis status {charge.client_business_id}  # perhaps accepted: a fox" in err
    assert "0 of 2 saved in out, 1 unfinished, 1 not sent" in err
    simulator.clear_faults()
    assert run_last_line(err).code == 0
    assert Counter(charge.prompt for charge in simulator.charges) == {"a fox": 1, "an owl": 1}
    assert len(pictures()) == 2


@pytest.mark.usefixtures("shell")
def test_a_killed_run_is_gone_on_with_by_the_same_command(serve: Serve, spawn: Spawn) -> None:
    simulator = serve()
    command = ("generate", "a fox", "an owl", "--max-in-flight", 1)
    child = spawn(*command)
    wait_for(simulator, "submit", 1)
    child.kill()
    child.wait()
    returncode, _, err = end(spawn(*command))
    assert returncode == 0, err
    assert Counter(charge.prompt for charge in simulator.charges) == {"a fox": 1, "an owl": 1}
    assert len(pictures()) == 2


@pytest.mark.usefixtures("shell")
def test_an_interrupted_resume_leaves_what_it_did_not_come_to(serve: Serve, spawn: Spawn) -> None:
    simulator = serve(faults=[faults.error(402, "empty", kind="submit", nth=3)])
    first = end(spawn("generate", "a", "b", "c", "d", "--max-in-flight", 1))
    assert first[0] == 3
    for picture in pictures():
        picture.unlink()
    simulator.add_fault(faults.hang(when="before", kind="file", times=None))
    child = spawn("resume", "out/toapis-journal.db", "--max-in-flight", 2)
    wait_for(simulator, "file", 4)
    child.send_signal(signal.SIGINT)
    returncode, out, err = end(child)
    assert (returncode, out) == (130, "")
    assert "0 of 4 saved in out, 4 left for the next run; " in err  # pictures that do not come hold up the rest
    assert "completed, not saved" not in err
    simulator.clear_faults()
    resumed = run_last_line(err)
    assert resumed.code == 0, resumed.err
    assert len(pictures()) == len(simulator.charges) == 4


def test_a_run_is_looked_at_while_it_goes_on_and_keeps_its_journal(serve: Serve, spawn: Spawn, toapis: Toapis) -> None:
    simulator = serve(durations=1000.0)
    child = spawn("generate", "a fox", "an owl", "a crab", "--max-in-flight", 2)
    wait_for(simulator, "submit", 2)
    looked = toapis("status", "--journal", "out/toapis-journal.db")
    second = toapis("resume", "out/toapis-journal.db")
    child.send_signal(signal.SIGINT)
    end(child)
    record = json.loads(looked.out)
    assert record["total"] == len(record["unfinished"]) == 3
    assert record["counts"]["queued"] == 1
    assert [row["prompt"] for row in record["unfinished"]] == ["a fox", "an owl", "a crab"]
    assert (second.code, second.out) == (2, "")
    assert f"is in use by process {child.pid} since " in second.err


def look(spawn: Spawn, *arguments: object) -> str:
    """Return the text that a command shows on a terminal."""
    master, slave = os.openpty()
    child: subprocess.Popen[bytes] = spawn(*arguments, stdout=slave)
    os.close(slave)
    assert end(child)[0] == 0
    return re.sub(r"\x1b\[[\d;]*m", "", read_terminal(master)).replace("\r\n", "\n")


def test_a_journal_is_a_table_on_a_terminal(serve: Serve, spawn: Spawn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    simulator = serve(durations=1000.0)
    fox = "fox,a [red]fox[/red]\x07 " + "x" * 200
    Path("in.csv").write_text("\n".join(["key,prompt", fox, *(f"k{number},an owl" for number in range(110))]))
    child = spawn("generate", "--from", "in.csv", "--max-in-flight", 1)
    wait_for(simulator, "submit", 1)
    child.send_signal(signal.SIGINT)
    end(child)
    seen = look(spawn, "status", "--journal", "out/toapis-journal.db")
    assert "queued  posting  submitted  unresolved  completed  failed" in seen
    first = next(line for line in seen.splitlines() if line.startswith("fox"))
    assert first.split()[:3] == ["fox", "submitted", simulator.charges[0].task_id]
    assert "a [red]fox[/red]" in first
    assert first.rstrip().endswith("…")
    assert "\x07" not in seen
    assert "and 11 more; --json has all" in seen
    assert seen.endswith("Unless a run is at it, go on with:\n  toapis resume out/toapis-journal.db\n")
