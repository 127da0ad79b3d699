"""Ids are opaque: whatever the service or the user makes of them goes round and back."""

from __future__ import annotations

import pytest

from toapis_async import Completed, ImageRequest, ToapisSession
from toapis_async._files.names import safe
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio

ODD = {
    "unicode": "任务-\N{FOX FACE}-é-",
    "slashes": "a/b\\\\c/../",
    "reserved": "?q=1&x#frag%2F%25;:@+, ",
    "two hundred": "x" * 177,
    "quotes": "\"'<>{}|^`",
    "dots": "...",
}


@pytest.mark.parametrize("name", ODD)
async def test_odd_task_ids_work_everywhere(name: str) -> None:
    async with (
        Simulator(limits=None, durations=10.0, id_prefix=ODD[name]) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url) as session,
    ):
        task = await session.generate(ImageRequest("fox"))
        assert task.id == sim.charges[0].task_id
        assert (await session.get(task.id)) == task
        assert (await session.wait(task.id)) == task
        sim.add_fault(faults.drop(when="after", kind="submit"))
        outcomes = await session.generate_many([ImageRequest("fox")] * 3)
        assert {outcome.task_id for outcome in outcomes} == {charge.task_id for charge in sim.charges[1:]}
        async with session.open_batch() as batch:
            batch.attach(task.id)
            assert [type(outcome) async for outcome in batch] == [Completed]
        assert not set(safe(task.id)) & set('/\\:*?"<>|%')


@pytest.mark.parametrize("name", ODD)
async def test_odd_ids_of_the_user_work_everywhere(session: ToapisSession, sim: Simulator, name: str) -> None:
    own_id = ODD[name]
    sim.add_fault(faults.drop(when="after", kind="submit"))
    task = await session.submit(ImageRequest("fox", client_business_id=own_id))
    assert sim.charges[0].client_business_id == own_id
    assert task.client_business_id == own_id
    assert (await session.wait(own_id)).id == task.id
