"""The command as a process: Ctrl-C, broken pipes, a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from toapis_async.testing import Simulator, faults

from .conftest import PATIENCE, Serve, Spawn, Toapis, pictures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo-terminals of Unix")


def end(child: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = child.communicate(timeout=PATIENCE)
    texts = [b"" if text is None else text for text in (out, err)]  # pyright: ignore[reportUnnecessaryComparison]
    return child.returncode, texts[0].decode(), texts[1].decode()


def wait_for(simulator: Simulator, kind: Literal["submit", "file"], count: int) -> None:
    async def wait() -> None:
        async with asyncio.timeout(PATIENCE):
            await simulator.wait_for_requests(kind, count)

    asyncio.run(wait())


def test_an_interrupt_during_the_paid_requests_loses_no_id(serve: Serve, spawn: Spawn, toapis: Toapis) -> None:
    simulator = serve(durations=1000.0, faults=[faults.delay(1.0, when="after", kind="submit")])
    child = spawn("generate", *(f"prompt {n}" for n in range(40)))
    wait_for(simulator, "submit", 3)
    child.send_signal(signal.SIGINT)
    returncode, out, err = end(child)
    assert (returncode, out) == (130, "")
    assert re.search(r"Interrupted: finishing \d+ requests? on (its|their) way…", err)
    assert "Traceback" not in err
    charges = simulator.charges
    assert 3 <= len(charges) < 40
    told = set(re.findall(r"^  toapis status (\S+)  # running: prompt \d+$", err, re.MULTILINE))
    assert told == {charge.task_id for charge in charges}
    assert f"{len(charges)} tasks may be paid for, but their pictures are not here." in err
    assert f"0 of 40 saved in out, {len(charges)} unfinished, {40 - len(charges)} not sent" in err
    assert toapis("status", *told).code == 0


def test_an_interrupt_leaves_one_json_object_for_each_task_that_may_be_paid_for(serve: Serve, spawn: Spawn) -> None:
    lost = faults.drop(when="after", kind="submit", match="a fox")
    unanswered = faults.hang(when="before", kind="query", times=None)
    simulator = serve(durations=1000.0, faults=[lost, unanswered])
    Path("in.csv").write_text("key,prompt\nfox,a fox\nowl,an owl\ncrab,a crab\n")
    child = spawn("generate", "--from", "in.csv", "--json", "--max-in-flight", 2)
    wait_for(simulator, "submit", 2)
    child.send_signal(signal.SIGINT)
    returncode, out, _ = end(child)
    assert returncode == 130
    fox, owl = sorted(map(json.loads, out.splitlines()), key=lambda record: record["key"])
    ids = {charge.prompt: (charge.task_id, charge.client_business_id) for charge in simulator.charges}
    assert fox == {
        "key": "fox",
        "outcome": "posting",
        "prompt": "a fox",
        "model": "grok-4-1-image",
        "task_id": None,
        "client_business_id": ids["a fox"][1],
        "files": [],
        "urls": [],
        "error": None,
        "download_error": None,
        "billing": None,
        "replayed": False,
    }
    assert (owl["outcome"], owl["key"]) == ("submitted", "owl")
    assert (owl["task_id"], owl["client_business_id"]) == ids["an owl"]


def test_a_second_interrupt_does_not_tear_paid_requests_apart(serve: Serve, spawn: Spawn) -> None:
    simulator = serve(durations=1000.0, faults=[faults.delay(1.0, when="after", kind="submit")])
    child = spawn("generate", "a fox")
    wait_for(simulator, "submit", 1)
    assert child.stderr is not None
    child.send_signal(signal.SIGINT)
    first = child.stderr.readline().decode()
    child.send_signal(signal.SIGINT)
    second = child.stderr.readline().decode()
    returncode, _, err = end(child)
    assert first == "Interrupted: finishing 1 request on its way…\n"
    assert second.startswith("Still finishing 1 request on its way; this takes at most 75 s.")
    assert returncode == 130
    assert simulator.charges[0].task_id in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_completed_task_whose_picture_is_not_saved_is_told_when_the_program_is_ended(
    serve: Serve, spawn: Spawn, number: signal.Signals
) -> None:
    simulator = serve(faults=[faults.hang(kind="file", when="before")])
    child = spawn("generate", "a fox", "--json")
    wait_for(simulator, "file", 1)
    child.send_signal(number)
    returncode, out, err = end(child)
    assert returncode == 128 + number
    record = json.loads(out)
    assert (record["outcome"], record["files"], len(record["urls"])) == ("completed", [], 1)
    assert record["download_error"] == {
        "type": "DownloadError",
        "message": "Could not save the picture: the run ended first",
    }
    assert f"toapis status {simulator.charges[0].task_id}  # completed, not saved: a fox" in err
    assert pictures() == []


def test_a_reader_that_goes_away_costs_nothing_but_its_lines(spawn: Spawn) -> None:
    child = spawn("generate", "--simulate", "--json", *(f"prompt {n}" for n in range(5)))
    assert child.stdout is not None
    child.stdout.close()
    child.stdout = None
    returncode, _, err = end(child)
    assert returncode == 0
    assert err.count("Standard output cannot be written") == 1
    assert err.splitlines()[-1].startswith("5 of 5 saved in out")
    assert "Traceback" not in err
    assert "Exception" not in err
    assert len(pictures()) == 5


def test_the_run_goes_on_when_nobody_reads_anything(spawn: Spawn) -> None:
    child = spawn("generate", "--simulate", "a", "b")
    for pipe in (child.stdout, child.stderr):
        assert pipe is not None
        pipe.close()
    child.stdout = child.stderr = None
    assert end(child)[0] == 0
    assert len(pictures()) == 2


def test_the_simulator_prints_how_to_reach_it_and_ends_quietly(
    spawn: Spawn, toapis: Toapis, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = spawn("simulate", "--time-factor", 100)
    assert child.stdout is not None
    lines = [child.stdout.readline().decode() for _ in range(2)]
    matches = [re.fullmatch(r"export (\w+)=(\S+)\n", line) for line in lines]
    for match, name in zip(matches, ("TOAPIS_BASE_URL", "TOAPIS_API_KEY"), strict=True):
        assert match is not None
        assert match[1] == name
        monkeypatch.setenv(name, match[2])
    assert toapis("status", "nobody").code == 1
    child.send_signal(signal.SIGINT)
    returncode, out, err = end(child)
    assert (returncode, out) == (0, "")
    assert "Traceback" not in err


def test_an_interrupt_reaches_the_command_from_a_suite_that_ignores_interrupts(spawn: Spawn) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = spawn("simulate")
    finally:
        signal.signal(signal.SIGINT, before)
    assert child.stdout is not None
    assert child.stdout.readline().startswith(b"export ")
    child.send_signal(signal.SIGINT)
    assert end(child)[0] == 0


def test_a_port_that_is_taken_is_one_line(spawn: Spawn, serve: Serve) -> None:
    port = serve().base_url.removesuffix("/v1").rpartition(":")[2]
    returncode, out, err = end(spawn("simulate", "--port", port))
    assert (returncode, out) == (2, "")
    assert err.startswith(f"toapis: cannot listen on port {port}: ")
    assert err.count("\n") == 1


def read_terminal(master: int) -> str:
    """Read what was written to a pseudo-terminal until its other end is closed."""
    seen = bytearray()
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    return seen.decode()


def test_a_terminal_shows_progress_and_every_path_once_and_gets_its_cursor_back(spawn: Spawn) -> None:
    master, slave = os.openpty()
    child = spawn("generate", "--simulate", "a [b]fox[/b]\x07", "b", "c", stdout=slave, stderr=slave)
    os.close(slave)
    seen = read_terminal(master)
    assert child.wait(timeout=PATIENCE) == 0
    assert re.search(r"0/3  0 submitted 0 running 0 done 0 failed  \d:\d\d, ETA \u2013", seen)
    assert "a [b]fox[/b]\\x07" in seen
    assert "\x07" not in seen
    assert seen.count("-0.png") == 3
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert "3 of 3 saved in out" in seen.splitlines()[-1]


def test_status_is_a_table_on_a_terminal(spawn: Spawn, serve: Serve) -> None:
    serve()
    master, slave = os.openpty()
    child = spawn("status", "[red]nobody[/red]", stdout=slave)
    os.close(slave)
    assert end(child)[0] == 1
    seen = read_terminal(master)
    assert "completed" in seen
    assert "[red]nobody[/red]" in seen
    assert "no such task" in seen
