"""Where pictures are fetched from: never from inside the user's own network, unless the service is there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from toapis_async import DownloadError, GeneratedImage, GenerationTask, ImageRequest, TaskStatus, ToapisSession
from toapis_async._files import hosts
from toapis_async._files.hosts import AddressGuard, is_public
from toapis_async.testing import Simulator, faults
from toapis_async.testing.pictures import draw

pytestmark = pytest.mark.anyio

PUBLIC = "https://8.8.8.8/v1"  # a base URL to which nothing is sent here


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # files are written by threads, which virtual time does not see


@pytest.fixture
async def abroad(anyio_backend: object) -> AsyncIterator[ToapisSession]:
    """A session with a service on the public internet."""
    async with ToapisSession("sk-x", base_url=PUBLIC) as session:
        yield session


@pytest.fixture
async def picture(sim: Simulator, session: ToapisSession) -> str:
    """The URL of a picture on 127.0.0.1."""
    task = await session.submit(ImageRequest("a fox"))
    sim.complete(task.id)
    return (await session.get(task.id)).images[0].url


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Addresses for names that end in `.example`, which nobody else is asked for."""
    known: dict[str, list[str]] = {}
    usual = asyncio.BaseEventLoop.getaddrinfo

    async def getaddrinfo(loop: asyncio.BaseEventLoop, host: Any, port: Any, **options: Any) -> Any:
        if not str(host).endswith(".example"):
            return await usual(loop, host, port, **options)
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return known


def task_at(url: str) -> GenerationTask:
    return GenerationTask(id="tsk_1", status=TaskStatus.COMPLETED, images=(GeneratedImage(url=url),))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:1.1.1.1", "2002:808:808::1"],
)
async def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "198.18.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::7f00:1", "fec0::1", "::127.0.0.1", "::ffff:0:7f00:1",
        "2002:7f00:1::1", "0177.0.0.1", "127.1", "localhost", "",
    ],
)  # fmt: skip
async def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]"])
async def test_no_spelling_of_a_local_address_is_connected_to(
    abroad: ToapisSession, sim: Simulator, picture: str, tmp_path: Path, host: str
) -> None:
    with pytest.raises(DownloadError) as caught:
        await abroad.download(task_at(picture.replace("127.0.0.1", host)), tmp_path)
    assert any(reason in caught.value.message for reason in ("private address", "not a canonical IPv4 address"))
    assert caught.value.task_id == "tsk_1"
    assert not [record for record in sim.requests if record.kind == "file"]
    assert list(tmp_path.iterdir()) == []


async def test_a_local_service_serves_its_pictures_by_name_too(
    sim: Simulator, session: ToapisSession, picture: str, tmp_path: Path
) -> None:
    async with ToapisSession(sim.api_key, base_url=sim.base_url.replace("127.0.0.1", "localhost")) as by_name:
        for opened in (session, by_name):
            assert await opened.download(task_at(picture), tmp_path, overwrite=True)


async def test_a_redirect_does_not_lead_home_from_abroad(
    abroad: ToapisSession,
    sim: Simulator,
    picture: str,
    tmp_path: Path,
    names: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Here 127.0.0.1 stands for the public internet, and ::1 and 127.0.0.2 for what is at home.
    monkeypatch.setattr(hosts, "is_public", "127.0.0.1".__eq__)
    names.update({"cdn.example": ["127.0.0.1"], "home.example": ["127.0.0.2"]})
    port = picture.split(":")[2].partition("/")[0]
    url = picture.replace("127.0.0.1", "cdn.example")
    for target in (f"http://[::1]:{port}/x.png", f"http://127.0.0.2:{port}/x.png", f"http://home.example:{port}/x.png"):
        sim.add_fault(faults.redirect(target, kind="file"))
        with pytest.raises(DownloadError, match="private address"):
            await abroad.download(task_at(url), tmp_path)
        assert list(tmp_path.iterdir()) == []
    assert [record.path for record in sim.requests if record.path == "/x.png"] == []
    (file,) = await abroad.download(task_at(url), tmp_path)
    assert file.read_bytes() == draw("a fox", 0)


async def test_a_redirect_to_a_foreign_host_is_followed_without_the_key(
    sim: Simulator, session: ToapisSession, picture: str, tmp_path: Path
) -> None:
    async with Simulator() as foreign, ToapisSession(foreign.api_key, base_url=foreign.base_url) as other:
        task = await other.submit(ImageRequest("an owl"))
        foreign.complete(task.id)
        url = (await other.get(task.id)).images[0].url
        sim.add_fault(faults.redirect(url, kind="file"))
        (file,) = await session.download(task_at(picture), tmp_path)
        assert file.read_bytes() == draw("an owl", 0)
        (fetched,) = [record for record in foreign.requests if record.kind == "file"]
    assert "authorization" not in fetched.headers
    assert not any(sim.api_key in value for value in fetched.headers.values())


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("file:///etc/passwd", "file is not http or https"),
        ("data:image/png;base64,AAAA", "data URI"),
        ("http://[x]/", "does not appear to be an IPv4 or IPv6 address"),
        ("", "more than 5 times"),
    ],
)
async def test_a_redirect_that_leads_nowhere_is_told(
    sim: Simulator, session: ToapisSession, picture: str, tmp_path: Path, target: str, said: str
) -> None:
    sim.add_fault(faults.redirect(target or picture, kind="file", times=None))
    with pytest.raises(DownloadError, match=said):
        await session.download(task_at(picture), tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_name_of_the_service_that_stands_for_a_private_address_allows_them(
    sim: Simulator, picture: str, tmp_path: Path, names: dict[str, list[str]]
) -> None:
    names["service.example"] = ["127.0.0.1"]
    async with ToapisSession("sk-x", base_url="http://service.example/v1") as session:
        with anyio.fail_after(30):
            for number in range(2):
                await asyncio.gather(*(session.download(task_at(picture), tmp_path / str(number)) for _ in range(3)))


@pytest.mark.parametrize("addresses", [["8.8.8.8"], []], ids=["public", "unknown"])
async def test_a_name_of_the_service_that_does_not_allows_none(
    sim: Simulator, picture: str, tmp_path: Path, names: dict[str, list[str]], addresses: list[str]
) -> None:
    if addresses:
        names["service.example"] = addresses
    async with ToapisSession("sk-x", base_url="http://service.example/v1") as session:
        for _ in range(2):
            with pytest.raises(DownloadError, match="private address"):
                await session.download(task_at(picture), tmp_path)


@pytest.mark.parametrize(
    ("base_url", "allowed"),
    [
        ("http://127.0.0.1:80/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://localhost/v1", True),
        ("http://api.localhost/v1", True),
        ("http://192.168.1.5/v1", True),
        ("https://toapis.com/v1", False),
        ("https://8.8.8.8/v1", False),
    ],
)
async def test_a_base_url_says_whether_private_addresses_are_allowed(base_url: str, allowed: bool) -> None:
    guard = AddressGuard(base_url)
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))
    try:
        guard.open_socket(info).close()
    except OSError:
        assert not allowed
    else:
        assert allowed
