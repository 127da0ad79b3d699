"""The fixture of the plugin, in a pytest run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import toapis_async.testing

SUITE = """
import json, urllib.request

import aiohttp
import pytest

BODY = {"model": "grok-4-1-image", "prompt": "a fox"}


def test_sync(toapis_simulator):
    headers = {"Authorization": "Bearer " + toapis_simulator.api_key}
    url = toapis_simulator.base_url + "/images/generations"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(BODY).encode(), headers)) as reply:
        assert reply.status == 200


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_async(toapis_simulator, anyio_backend):
    headers = {"Authorization": "Bearer " + toapis_simulator.api_key}
    async with aiohttp.ClientSession(headers=headers) as session:
        for _ in range(60):
            async with session.post(toapis_simulator.base_url + "/images/generations", json=BODY) as reply:
                assert reply.status == 200
    assert len(toapis_simulator.charges) == 60
"""


def test_the_fixture_serves_sync_and_async_tests_without_a_warning(tmp_path: Path) -> None:
    suite = tmp_path / "test_suite.py"
    suite.write_text(SUITE)
    root = Path(toapis_async.testing.__file__).parents[2]
    # Named one by one: whether the package is installed, and its plugin found by itself, must not matter here.
    plugins = [word for name in ("anyio", toapis_async.testing.__name__ + ".pytest_plugin") for word in ("-p", name)]
    options = ["-q", "-W", "error", *plugins, "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-m", "pytest", *options, str(suite)],
        env={**os.environ, "PYTHONPATH": str(root), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
