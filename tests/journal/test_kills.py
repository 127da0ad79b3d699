"""A batch with a journal survives being killed, whatever the service does meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .many_kills import run_with_kills

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # other processes and the journal's thread know no virtual clock


@pytest.mark.parametrize(("seed", "resubmit"), [(1, False), (2, True)])
async def test_a_batch_that_is_killed_again_and_again_pays_once_and_loses_nothing(
    seed: int, *, resubmit: bool, tmp_path: Path
) -> None:
    report = await run_with_kills(seed, tmp_path, requests=200, resubmit=resubmit)
    assert report.violations == ()
    assert report.kills
    assert report.delivered == report.requests
    assert report.accepted + report.unresolved == report.requests
