"""`toapis generate` with a journal: what a second run sends, and what is said about a journal that cannot be used."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from toapis_async._journal import journal
from toapis_async._journal.lock import only_writer
from toapis_async._journal.store import Change, apply
from toapis_async.testing import Simulator, faults

from .conftest import Serve, Toapis, pictures

DEFAULT = Path("out/toapis-journal.db")
pytestmark = pytest.mark.usefixtures("quick")


def records(out: str) -> dict[str, dict[str, Any]]:
    """Return JSON lines by their prompts."""
    return {record["prompt"]: record for record in map(json.loads, out.splitlines())}


def asked(simulator: Simulator) -> Counter[str]:
    return Counter(request.kind for request in simulator.requests)


def test_the_same_command_again_sends_nothing_and_says_how_to_get_new_pictures(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    first = toapis("generate", "a fox", "an owl", "--json")
    before, kept = asked(simulator), pictures()
    again = toapis("generate", "a fox", "an owl", "--json", "--quiet")
    assert (first.code, again.code) == (0, 0)
    assert asked(simulator) == before == {"submit": 2, "query": 2, "file": 2}
    assert pictures() == kept
    found = records(again.out)
    assert all(found[prompt] == {**record, "replayed": True} for prompt, record in records(first.out).items())
    assert again.err.splitlines() == [
        "All of this was done in an earlier run, nothing was sent.",
        "For new pictures give another --out, or --no-journal.",
    ]
    assert toapis("generate", "a fox", "--out", "more").code == 0
    assert toapis("generate", "a fox", "--no-journal").code == 0
    assert len(simulator.charges) == 4
    assert len(pictures()) == 3


def test_what_an_earlier_run_ended_is_marked_and_counted(toapis: Toapis, serve: Serve) -> None:
    serve()
    toapis("generate", "a fox", "[[fail]]")
    ended = toapis("generate", "a fox", "an owl", "[[fail]]")
    assert ended.code == 1
    marked = [line for line in ended.err.splitlines() if line.endswith("  (earlier run)")]
    assert {line.split("  ")[0].replace("[1/3] ", "").replace("[2/3] ", "") for line in marked} == {
        "done a fox",
        "failed [[fail]]",
    }
    assert "2 of 3 saved in out, 1 failed (2 from an earlier run); 0:0" in ended.err.splitlines()[-1]
    assert "Go on with" not in ended.err


def test_a_changed_file_of_prompts_sends_only_what_is_new(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    Path("in.txt").write_text("a fox\nan owl\n")
    before = records(toapis("generate", "--from", "in.txt", "--json").out)
    Path("in.txt").write_text("a crab\nan owl\na fox\na fox\n")
    ended = toapis("generate", "--from", "in.txt", "--json")
    assert ended.code == 0
    assert Counter(charge.prompt for charge in simulator.charges) == {"a fox": 2, "an owl": 1, "a crab": 1}
    found = [json.loads(line) for line in ended.out.splitlines()]
    foxes = {record["key"]: record["replayed"] for record in found if record["prompt"] == "a fox"}
    key = before["a fox"]["key"]
    assert foxes == {key: True, f"{key}-2": False}


def test_pictures_that_are_gone_are_fetched_again_without_paying(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    toapis("generate", "a fox", "an owl")
    gone = pictures()[0]
    gone.unlink()
    assert toapis("generate", "a fox", "an owl").code == 0
    assert gone in pictures()
    assert asked(simulator) == {"submit": 2, "query": 2, "file": 3}


def test_without_a_journal_items_are_numbered_and_nothing_is_recorded(toapis: Toapis, serve: Serve) -> None:
    serve()
    ended = toapis("generate", "a fox", "an owl", "--no-journal", "--json")
    assert {prompt: record["key"] for prompt, record in records(ended.out).items()} == {"a fox": "0", "an owl": "1"}
    assert len(pictures()) == 2
    assert toapis("generate", "a fox", "--simulate", "--out", "simulated").code == 0
    assert len(pictures("simulated")) == 1


def test_what_failed_is_paid_anew_only_if_that_is_wanted(toapis: Toapis, serve: Serve) -> None:
    simulator = serve(faults=[faults.fails(times=1)])
    assert toapis("generate", "a fox").code == 1
    again = toapis("generate", "a fox")
    assert (again.code, len(simulator.charges)) == (1, 1)
    assert again.err.splitlines()[-2] == (
        "All of this was done in an earlier run, nothing was sent; --retry-failed pays anew for what failed."
    )
    assert toapis("generate", "a fox", "--retry-failed").code == 0
    assert len(simulator.charges) == 2


def test_another_request_under_a_known_key_is_told_before_anything_is_sent(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    rows = [f"k{number},prompt {number}" for number in range(7)]
    Path("in.csv").write_text("\n".join(["key,prompt", *rows]))
    assert toapis("generate", "--from", "in.csv").code == 0
    ended = toapis("generate", "--from", "in.csv", "--size", "16:9", "--journal", DEFAULT)
    assert (ended.code, len(simulator.charges)) == (2, 7)
    assert ended.err == (
        "toapis: key: 'k0', 'k1', 'k2', 'k3', 'k4' and 2 more: another request has this key in"
        " out/toapis-journal.db; a changed request needs a new key, or another journal\n"
    )
    assert toapis("generate", "--from", "in.csv").code == 0


def test_a_key_that_clashes_after_all_fails_alone(
    toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = serve()
    Path("in.csv").write_text("key,prompt\nfox,a fox\n")
    toapis("generate", "--from", "in.csv")

    def passes(items: object, path: Path) -> None:
        """The row came after the check."""

    monkeypatch.setattr("toapis_async.cli.generate.check_keys", passes)
    Path("in.csv").write_text("key,prompt\nfox,another fox\nowl,an owl\n")
    ended = toapis("generate", "--from", "in.csv", "--json")
    assert ended.code == 1
    found = records(ended.out)
    assert found["another fox"]["error"]["type"] == "RequestValidationError"
    assert found["an owl"]["outcome"] == "completed"
    assert len(simulator.charges) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--simulate", "--journal", "j.db"], "--simulate and --journal exclude each other: the tasks"),
        (["--no-journal", "--journal", "j.db"], "--journal and --no-journal exclude each other"),
        (["--no-journal", "--retry-failed"], "--retry-failed needs a journal"),
        (["--simulate", "--retry-failed"], "--retry-failed needs a journal"),
    ],
)
def test_options_that_contradict_each_other_are_told(toapis: Toapis, options: list[str], said: str) -> None:
    ended = toapis("generate", "a fox", *options)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"toapis: {said}")
    assert list(Path().iterdir()) == []


HINT = "toapis: --journal FILE or another --out takes another journal, --no-journal none."


def test_a_journal_in_use_is_named_with_its_user_and_nothing_is_sent(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    Path("out").mkdir()
    with only_writer(DEFAULT):
        ended = toapis("generate", "a fox")
    assert (ended.code, ended.out, simulator.requests) == (2, "", ())
    first, hint = ended.err.splitlines()
    assert first.startswith("toapis: The journal out/toapis-journal.db is in use by process ")
    assert hint == HINT


def test_a_journal_of_another_service_or_of_no_kind_sends_nothing(toapis: Toapis, serve: Serve) -> None:
    serve()
    toapis("generate", "a fox")
    simulator = serve()
    Path("notes.txt").write_text("to do: " * 200)
    for journal_, reason in (
        (DEFAULT, "is of http://127.0.0.1:"),
        ("notes.txt", "cannot be used: file is not a database"),
        ("none/j.db", "cannot make its lock j.db.lock: No such file or directory"),
    ):
        ended = toapis("generate", "an owl", "--journal", journal_)
        assert (ended.code, simulator.requests) == (2, ())
        assert ended.err.startswith(f"toapis: The journal {journal_} {reason}")
        assert ended.err.splitlines()[1:] == [HINT]


def test_a_journal_that_cannot_be_written_any_more_ends_the_run_and_pays_nothing_twice(
    toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = serve()

    def full(db: sqlite3.Connection, changes: list[Change]) -> None:
        if any(change.state == "submitted" for change in changes):
            raise sqlite3.OperationalError("database or disk is full")
        apply(db, changes)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "apply", full)
        ended = toapis("generate", "a fox", "an owl", "a crab", "--max-in-flight", 1)
    assert ended.code == 1
    assert len(simulator.charges) == 1
    *_, why, summary, go_on, command = ended.err.splitlines()
    reason = "The journal out/toapis-journal.db cannot be used: database or disk is full"
    assert why == f"Nothing more was sent: {reason}"
    assert "1 of 3 saved in out, 2 not sent; 0:0" in summary
    assert (go_on, command) == ("Go on with:", "  toapis resume out/toapis-journal.db --max-in-flight 1")
    assert toapis(*command.split()[1:]).code == 0
    assert Counter(charge.prompt for charge in simulator.charges) == {"a fox": 1, "an owl": 1, "a crab": 1}
    assert len(pictures()) == 3


def test_a_journal_that_fails_at_the_very_end_is_told(
    toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()

    def full(db: sqlite3.Connection, changes: list[Change]) -> None:
        if any(change.state == "completed" for change in changes):
            raise sqlite3.OperationalError("database or disk is full")
        apply(db, changes)

    monkeypatch.setattr(journal, "apply", full)
    monkeypatch.setattr(journal, "_GATHER_SECONDS", 1.0)  # the end of the task comes with the end of the run
    ended = toapis("generate", "a fox")
    assert ended.code == 1
    assert "database or disk is full" in ended.err
    assert "1 of 1 saved in out" in ended.err
