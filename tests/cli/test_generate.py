"""`toapis generate`: what is saved, what is written where, and the exit codes."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from toapis_async.testing import faults

from .conftest import Serve, Toapis, pictures


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.usefixtures("quick")
def test_pictures_are_saved_and_their_paths_go_to_standard_output(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    ended = toapis("generate", "a fox", "an owl", "--n", 2, "--out", "deep/pictures")
    assert ended.code == 0
    paths = [Path(line) for line in ended.out.splitlines()]
    assert sorted(paths) == pictures("deep/pictures")
    assert len(paths) == 4
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert [charge.n for charge in simulator.charges] == [2, 2]
    assert ended.err.splitlines()[-1].startswith("2 of 2 saved in deep/pictures; 0:0")
    assert "\x1b" not in ended.err


@pytest.mark.usefixtures("quick")
def test_each_outcome_is_one_json_object(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    Path("in.csv").write_text("key,prompt\nfox,a fox\nbad,[[fail]]\nno,[[reject]]\n")
    ended = toapis("generate", "--from", "in.csv", "--json")
    assert ended.code == 1
    found = {record["key"]: record for record in records(ended.out)}
    ids = {charge.prompt: (charge.task_id, charge.client_business_id) for charge in simulator.charges}
    fox = found["fox"]
    (url,) = fox.pop("urls")
    assert url.startswith("http://127.0.0.1:")
    assert fox == {
        "key": "fox",
        "outcome": "completed",
        "prompt": "a fox",
        "model": "grok-4-1-image",
        "task_id": ids["a fox"][0],
        "client_business_id": ids["a fox"][1],
        "files": [str(Path("out", "fox-0.png"))],
        "error": None,
        "download_error": None,
        "billing": {"status": "pending", "credits": None, "cost_usd": None},
        "replayed": False,
    }
    assert (found["bad"]["outcome"], found["bad"]["task_id"]) == ("failed", ids["[[fail]]"][0])
    assert found["bad"]["error"]["type"] == "GenerationFailed"
    assert found["bad"]["billing"] == {"status": "refunded", "credits": "0", "cost_usd": "0"}
    assert found["no"]["error"]["type"] == "ContentRejectedError"
    assert found["no"]["task_id"] is None
    assert "failed [" in ended.err


@pytest.mark.usefixtures("quick")
def test_a_picture_that_cannot_be_saved_fails_nobody_else_and_its_url_is_told(toapis: Toapis, serve: Serve) -> None:
    serve(faults=[faults.error(404, "gone", kind="file", match="b", times=None)])
    ended = toapis("generate", "a", "b", "c", "--json")
    assert ended.code == 1
    found = records(ended.out)
    assert [record["outcome"] for record in found] == ["completed"] * 3
    (lost,) = (record for record in found if record["download_error"])
    assert lost["download_error"]["type"] == "ResultExpiredError"
    assert lost["files"] == []
    (line,) = (line for line in ended.err.splitlines() if line.startswith("not saved"))
    assert line.endswith(lost["urls"][0])
    assert len(pictures()) == 2
    assert "2 of 3 saved in out, 1 not saved" in ended.err


@pytest.mark.usefixtures("quick")
def test_a_refused_key_ends_with_3_and_counts_what_was_not_sent(
    toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = serve()
    monkeypatch.setenv("TOAPIS_API_KEY", "sk-wrong")
    ended = toapis("generate", *(f"prompt {n}" for n in range(30)))
    assert ended.code == 3
    assert simulator.charges == ()
    assert ended.out == ""
    assert "The service takes no more requests: " in ended.err
    assert "0 of 30 saved in out, 30 refused or not sent" in ended.err
    assert "sk-wrong" not in ended.err


@pytest.mark.usefixtures("quick")
def test_when_the_balance_is_used_up_what_was_accepted_is_delivered(toapis: Toapis, serve: Serve) -> None:
    simulator = serve(credits=Decimal(8))
    ended = toapis("generate", "a", "b", "c", "d", "[[reject]]", "--max-in-flight", 1)
    assert ended.code == 3
    assert len(ended.out.splitlines()) == len(simulator.charges) == 2
    assert "2 of 5 saved in out, 3 refused or not sent" in ended.err


def test_what_runs_longer_than_the_wait_is_left_open_with_its_id(
    toapis: Toapis, serve: Serve, quick: Callable[..., None]
) -> None:
    quick(deadline=0.2)
    simulator = serve(durations=1000.0)
    ended = toapis("generate", "a fox", "--json")
    assert ended.code == 4
    (charge,) = simulator.charges
    (record,) = records(ended.out)
    assert record["outcome"] == "timed_out"
    assert record["error"]["type"] == "PollDeadlineExceeded"
    assert ended.err.splitlines()[-6:-3] == [
        "1 task may be paid for, but its pictures are not here.",
        "What still runs goes on at the service; look with:",
        f"  toapis status {charge.task_id}  # timed out: a fox",
    ]
    assert "0 of 1 saved in out, 1 unfinished" in ended.err


def test_a_failure_wins_over_an_open_item(toapis: Toapis, serve: Serve, quick: Callable[..., None]) -> None:
    quick(deadline=0.2)
    serve(durations=1000.0)
    ended = toapis("generate", "a fox", "[[reject]]", "--base-url", serve().base_url)
    assert ended.code == 1


def test_the_way_on_names_the_base_url_that_was_given(
    toapis: Toapis, serve: Serve, quick: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(deadline=0.2)
    simulator = serve(durations=1000.0)
    monkeypatch.delenv("TOAPIS_BASE_URL")
    ended = toapis("generate", "a fox", "--base-url", simulator.base_url)
    assert ended.code == 4
    assert f"toapis status --base-url {simulator.base_url} {simulator.charges[0].task_id}" in ended.err


def test_invalid_input_sends_nothing(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    Path("in.jsonl").write_text('"fine"\n{"prompt": "x", "sise": 1}\n')
    ended = toapis("generate", "also fine", "--from", "in.jsonl")
    assert (ended.code, ended.out, simulator.requests) == (2, "", ())
    assert ended.err.startswith("toapis: in.jsonl, line 2: 'sise' is not a field; ")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["generate"], "toapis: no prompts: "),
        (["generate", "a", "--simulate", "--base-url", "http://x"], "toapis: --simulate and --base-url exclude"),
        (["generate", "a"], "toapis: no API key: set the environment variable TOAPIS_API_KEY"),
        (["generate", "a", "--n", "many"], "toapis: Invalid value for"),
        (["generate", "a", "--max-in-flight", "0"], "toapis: Invalid value"),
        (["generate", "a", "--bogus"], "toapis: Unknown option"),
        (["generate", "a", "--simulate", "--out", "a.file/x"], "toapis: --out a.file/x: Not a directory"),
        (["status"], "toapis: no ids"),
        (["status", "x"], "toapis: no API key"),
        (["nonsense"], "toapis: Unknown command"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(toapis: Toapis, arguments: list[str], said: str) -> None:
    Path("a.file").touch()
    ended = toapis(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(said)
    assert ended.err.count("\n") == 1


def test_a_wrong_base_url_is_one_line_and_exit_code_2(toapis: Toapis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOAPIS_API_KEY", "sk-x")
    for command in ("generate", "status"):
        ended = toapis(command, "a", "--base-url", "ftp://x")
        assert (ended.code, ended.err.count("\n")) == (2, 1)
        assert "base_url: 'ftp://x'" in ended.err


def test_a_simulated_run_needs_no_key(toapis: Toapis) -> None:
    ended = toapis("generate", "--simulate", "--quiet", "--", "a fox", "--an owl")
    assert (ended.code, ended.err) == (0, "")
    assert len(ended.out.splitlines()) == 2


@pytest.mark.usefixtures("quick")
def test_text_from_outside_cannot_drive_the_terminal(toapis: Toapis, serve: Serve) -> None:
    serve()
    ended = toapis("generate", "a [red]fox[/red]\x1b[2J\u202e\nand\u3000more " + "x" * 60)
    assert ended.code == 0
    assert "done [1/1] a [red]fox[/red]\\x1b[2J\\u202e and more" in ended.err
    assert "…" in ended.err


@pytest.mark.usefixtures("quick")
def test_with_quiet_only_what_went_wrong_is_told(toapis: Toapis, serve: Serve) -> None:
    serve()
    ended = toapis("generate", "a", "[[fail]]", "--quiet")
    assert ended.code == 1
    assert ended.err.splitlines() == ["1 of 2 saved in out, 1 failed; 0:00"]


@pytest.mark.usefixtures("quick")
def test_a_warning_of_the_package_is_a_line_of_the_display(
    toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    logger = logging.getLogger("toapis_async")

    def record(*_: object) -> dict[str, object]:
        logger.warning("Look\x07 %s", "here")
        return {}

    monkeypatch.setattr("toapis_async.cli.run.outcome_record", record)
    ended = toapis("generate", "a", "--json")
    assert "warning Look\\x07 here" in ended.err.splitlines()
    assert not logger.handlers


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.usefixtures("quick")
def test_a_full_disk_behind_standard_output_is_a_failure_and_the_pictures_are_saved_all_the_same(
    toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        ended = toapis("generate", "a", "b")
    assert ended.code == 1
    assert ended.err.count("Standard output cannot be written (") == 1
    assert "2 of 2 saved in out" in ended.err


@pytest.mark.usefixtures("quick")
def test_a_process_without_standard_output_saves_its_pictures(
    toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    monkeypatch.setattr(sys, "stdout", None)
    ended = toapis("generate", "a", "--json")
    assert ended.code == 1
    assert "1 of 1 saved in out" in ended.err


@pytest.mark.usefixtures("quick")
def test_a_path_that_standard_output_has_no_letters_for_is_written_with_escapes(
    toapis: Toapis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    written = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", written)
    ended = toapis("generate", "a", "--out", "b\u00e4ume")
    assert ended.code == 0
    assert written.buffer.getvalue().startswith(b"b\\xe4ume/")


def test_without_its_libraries_the_command_says_what_to_install(
    toapis: Toapis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("rich", "cyclopts"):
        monkeypatch.setitem(sys.modules, name, None)
        ended = toapis("--version")
        assert ended.code == 2
        assert ended.err.endswith("install it with: pip install 'toapis-async[cli]'\n")
        assert ended.err.count("\n") == 1


def test_help_and_version(toapis: Toapis) -> None:
    from toapis_async import __version__

    assert toapis("--version").out.strip() == __version__
    overview, generate = toapis("--help"), toapis("generate", "--help")
    assert (overview.code, generate.code) == (0, 0)
    assert "130: interrupted" in overview.out
    assert "toapis --help" in " ".join(generate.out.split())
    assert "exit code is 0" in " ".join(toapis("simulate", "--help").out.split())
