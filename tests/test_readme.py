"""Every code block and every `toapis` line of the README runs; its set-up lines are what CI calls."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest
from aiohttp import web
from processes import running

from toapis_async.testing import Simulator
from toapis_async.testing.pictures import draw

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
LINES = [line for language, code in BLOCKS if language == "sh" for line in code.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("toapis ")]
SETUP = [line for line in LINES if line.startswith("python3 -m venv ")]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Simulator]:
    """A running simulator that the environment names, in an empty folder with a file of prompts."""
    with Simulator(time_factor=100, limits=None) as simulator:
        monkeypatch.setenv("TOAPIS_API_KEY", simulator.api_key)
        monkeypatch.setenv("TOAPIS_BASE_URL", simulator.base_url)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "cat.png").write_bytes(draw("a cat", 0))
        (tmp_path / "prompts.txt").write_text("an owl\na crab\n", encoding="utf-8")
        yield simulator


def test_every_block_is_of_a_kind_that_is_tested_here() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "sh"}
    assert sorted(COMMANDS + SETUP) == sorted(LINES)


def test_the_example_comes_early_and_is_short() -> None:
    first = README.index("```python")
    end = README.index("```\n", first)
    assert README.count("\n", 0, end) < 30
    assert len([line for line in PYTHON[0].splitlines() if line]) <= 10


@pytest.mark.parametrize("code", [code for code in PYTHON if "asyncio.run(main())" in code])
def test_a_script_runs(code: str, service: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    charges = len(service.charges)
    assert charges or "Simulator(" in code
    assert "failed" not in capsys.readouterr().out.replace("bad failed:", "")


def test_the_script_with_a_journal_goes_on_after_being_killed(service: Simulator, tmp_path: Path) -> None:
    (code,) = [code for code in PYTHON if "journal=" in code]
    command = [sys.executable, "-u", "-c", code]
    with running(command) as killed:
        assert killed.stdout is not None
        first = killed.stdout.readline()
        killed.kill()
    assert b".png" in first
    for replayed in (range(8), (8,)):
        with running(command) as child:
            lines = child.communicate()[0].decode().splitlines()
        assert child.returncode == 0
        assert sum(line.endswith(" from an earlier run") for line in lines) in replayed
        assert sorted(line.split()[0] for line in lines) == sorted([
            "fox",
            "whale",
            "owl",
            "crab",
            "heron",
            "lynx",
            "newt",
            "toad",
        ])
    assert len(service.charges) == len({charge.prompt for charge in service.charges}) == 8
    assert len(list((tmp_path / "out").glob("*.png"))) == 8


@pytest.fixture
def web_app(service: Simulator, monkeypatch: pytest.MonkeyPatch) -> web.Application:
    """What the README's server would serve."""
    served: list[web.Application] = []

    def run_app(app: web.Application, *, host: str, port: int) -> None:
        assert (host, port > 0) == ("127.0.0.1", True)
        served.append(app)

    monkeypatch.setattr(web, "run_app", run_app)
    (code,) = [code for code in PYTHON if "asyncio.run(main())" not in code]
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    (app,) = served
    return app


@asynccontextmanager
async def serving(app: web.Application) -> AsyncGenerator[str]:
    """Serve on a free port, and stop without patience for handlers."""
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/draw"
    finally:
        await runner.cleanup()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_web_app_serves(web_app: web.Application, service: Simulator) -> None:
    with anyio.fail_after(30):
        async with (
            serving(web_app) as url,
            aiohttp.ClientSession() as browser,
            browser.get(url, params={"prompt": "a fox"}) as response,
        ):
            assert (await response.json())["url"].startswith("http://127.0.0.1:")
    assert len(service.charges) == 1
    assert not Path("out").exists()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_web_app_collects_what_its_cancelled_handlers_paid_for(
    web_app: web.Application, service: Simulator
) -> None:
    async with aiohttp.ClientSession() as browser:
        with anyio.fail_after(30):
            async with serving(web_app) as url:
                reply = asyncio.ensure_future(browser.get(url, params={"prompt": "a fox"}))
                await service.wait_for_requests("submit", 1)
        with pytest.raises(aiohttp.ClientError):
            await reply
    (charge,) = service.charges
    assert [file.name for file in Path("out").iterdir()] == [f"{charge.task_id}-0.png"]


@pytest.mark.parametrize("line", [line for line in COMMANDS if " simulate" not in line])
def test_a_command_runs(line: str, service: Simulator) -> None:
    if "tsk_img_01K" in line:
        generate = [sys.executable, "-m", "toapis_async.cli", "generate", "a fox"]
        subprocess.run(generate, check=True, timeout=60, capture_output=True)
        line = line.replace("tsk_img_01K", service.charges[0].task_id)
    if "pictures/toapis-journal.db" in line:
        generate = [sys.executable, "-m", "toapis_async.cli", "generate", "a fox", "--out", "pictures"]
        subprocess.run(generate, check=True, timeout=60, capture_output=True)
    if line == "toapis gallery pictures":
        Path("pictures").mkdir()
        Path("pictures/manifest.jsonl").write_text('{"key": "fox"}\n', encoding="utf-8")
    command = [sys.executable, "-m", "toapis_async.cli", *shlex.split(line)[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_simulate_command_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    (line,) = [line for line in COMMANDS if " simulate" in line]
    words = shlex.split(line)[1:]
    words[words.index("--port") + 1] = "0"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "toapis_async.cli", *words]
    with running(command, env=environment, cwd=tmp_path) as process:
        assert process.stdout is not None
        first, second = (process.stdout.readline().decode() for _ in range(2))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert first.startswith("export TOAPIS_BASE_URL=http://127.0.0.1:")
    assert second.startswith("export TOAPIS_API_KEY=sk-")


def test_there_are_two_set_up_lines_and_ci_calls_them_literally() -> None:
    assert len(SETUP) == 2
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in ci if line.startswith("python3 -m venv ")] == SETUP
