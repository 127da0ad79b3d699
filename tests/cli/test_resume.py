"""`toapis resume`: going on from a journal alone."""

from __future__ import annotations

import json
import shlex
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from toapis_async.testing import faults

from .conftest import Ended, Serve, Toapis, pictures

pytestmark = pytest.mark.usefixtures("quick")


def command(ended: Ended) -> list[str]:
    """Return the words of the command that the last lines name."""
    go_on, line = ended.err.splitlines()[-2:]
    assert go_on == "Go on with:"
    name, *words = shlex.split(line)
    assert name == "toapis"
    return words


def test_an_empty_balance_is_one_of_the_ends_from_which_it_goes_on(toapis: Toapis, serve: Serve) -> None:
    simulator = serve(faults=[faults.error(402, "insufficient balance", kind="submit", nth=3)])
    ended = toapis("generate", "a", "b", "c", "d", "--max-in-flight", 1, "--out", "deep/it's here")
    assert ended.code == 3
    assert "2 of 4 saved in deep/it's here, 2 refused or not sent" in ended.err
    words = command(ended)
    assert words == ["resume", "deep/it's here/toapis-journal.db", "--max-in-flight", "1"]
    resumed = toapis(*words, "--json")
    assert resumed.code == 0
    found = {record["prompt"]: record["replayed"] for record in map(json.loads, resumed.out.splitlines())}
    assert found == {"a": True, "b": True, "c": False, "d": False}
    assert "4 of 4 saved in deep/it's here (2 from an earlier run); " in resumed.err
    assert len(pictures("deep/it's here")) == 4
    assert Counter(charge.prompt for charge in simulator.charges) == dict.fromkeys("abcd", 1)
    assert sum(request.kind == "file" for request in simulator.requests) == 4


def test_the_command_names_every_option_it_needs(
    toapis: Toapis, serve: Serve, quick: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = serve(durations=1000.0)
    monkeypatch.delenv("TOAPIS_BASE_URL")
    quick(deadline=0.2)
    Path("-books").mkdir()
    given = ["--journal=-books/j.db", "--out", "p q", "--base-url", simulator.base_url]
    ended = toapis("generate", "a fox", *given)
    assert ended.code == 4
    assert command(ended) == ["resume", "./-books/j.db", "--out", "p q", "--base-url", simulator.base_url]
    simulator.complete(simulator.charges[0].task_id)
    resumed = toapis(*command(ended))
    assert resumed.code == 0
    assert len(pictures("p q")) == len(simulator.charges) == 1


def test_what_is_paid_for_is_fetched_before_a_refusal_ends_the_run(
    toapis: Toapis, serve: Serve, quick: Callable[..., None]
) -> None:
    simulator = serve(durations=1000.0)
    quick(deadline=0.2)
    toapis("generate", "one", "two")
    simulator.add_fault(faults.error(402, "insufficient balance", kind="submit", times=None))
    ended = toapis("generate", "to come")
    assert ended.code == 3
    for charge in simulator.charges:
        simulator.complete(charge.task_id)
    quick(deadline=10.0)
    resumed = toapis(*command(ended))
    assert resumed.code == 3
    assert "2 of 3 saved in out, 1 refused or not sent" in resumed.err
    assert command(resumed) == command(ended)
    simulator.clear_faults()
    simulator.add_fault(faults.lasts(0.0))
    assert toapis(*command(resumed)).code == 0
    assert Counter(charge.prompt for charge in simulator.charges) == {"one": 1, "two": 1, "to come": 1}


def test_what_failed_is_sent_again_only_if_that_is_wanted(toapis: Toapis, serve: Serve) -> None:
    simulator = serve(faults=[faults.fails(times=1)])
    Path("books").mkdir()
    assert toapis("generate", "a fox", "--journal", "books/j.db").code == 1
    resumed = toapis("resume", "books/j.db", "--out", "out")
    assert (resumed.code, len(simulator.charges)) == (1, 1)
    said = "All of this was done in an earlier run, nothing was sent; --retry-failed pays anew for what failed."
    assert resumed.err.splitlines()[-1] == said
    again = toapis("resume", "books/j.db", "--retry-failed", "--quiet")
    assert (again.code, again.err, len(simulator.charges)) == (0, "", 2)
    assert [Path(line).parent for line in again.out.splitlines()] == [Path("books")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.db", "The journal none.db does not exist"),
        ("notes.txt", "The journal notes.txt cannot be used: file is not a database"),
    ],
)
@pytest.mark.parametrize("words", [["resume"], ["status", "--journal"]])
def test_what_is_no_journal_is_told_and_left_as_it_is(toapis: Toapis, words: list[str], name: str, said: str) -> None:
    Path("notes.txt").write_text("to do: " * 200)
    ended = toapis(*words, name)
    assert (ended.code, ended.out, ended.err) == (2, "", f"toapis: {said}\n")
    assert [path.name for path in Path().iterdir()] == ["notes.txt"]


def test_an_empty_journal_is_told(toapis: Toapis, serve: Serve) -> None:
    serve()
    toapis("generate", "a fox")
    with closing(sqlite3.connect("out/toapis-journal.db")) as db, db:
        db.execute("DELETE FROM jobs")
    ended = toapis("resume", "out/toapis-journal.db")
    assert (ended.code, ended.out, ended.err) == (0, "", "The journal out/toapis-journal.db is empty.\n")


def test_it_needs_a_key_and_one_file(toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve()
    toapis("generate", "a fox")
    monkeypatch.delenv("TOAPIS_API_KEY")
    ended = toapis("resume", "out/toapis-journal.db")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert ended.err.startswith("toapis: no API key")
    assert toapis("resume").code == 2
