"""Reference pictures on the command line: files and URLs, in options and in files of prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toapis_async import ImageRequest
from toapis_async.cli.exits import UsageError
from toapis_async.cli.inputs import read_input
from toapis_async.cli.plan import make_plan
from toapis_async.testing import Simulator, faults
from toapis_async.testing.pictures import draw

from .conftest import Serve, Toapis, pictures

CAT = draw("a cat", 0)
URL = "https://a.example/1.png"


@pytest.fixture(autouse=True)
def files(elsewhere: None) -> None:
    for name in ("cat.png", "my cat.png", "dog.jpg"):
        Path(name).write_bytes(b"\xff\xd8\xff" + name.encode() if name == "dog.jpg" else CAT)


def images_of(name: str, content: str, **defaults: list[str]) -> list[object]:
    Path(name).write_text(content)
    return [request.images for _, request in make_plan(read_input([], name), defaults).items]


def sent(simulator: Simulator) -> list[list[str]]:
    bodies = [json.loads(record.body) for record in simulator.requests if record.kind == "submit"]
    return [body["image_urls"] for body in bodies]


def test_a_table_names_files_and_urls() -> None:
    table = f"prompt,image\na,cat.png\nb,my cat.png\nc,cat.png {URL}  dog.jpg\nd,\n"
    cat, dog = Path("cat.png"), Path("dog.jpg")
    assert images_of("p.csv", table, images=[URL]) == [(cat,), (Path("my cat.png"),), (cat, URL, dog), (URL,)]


def test_json_lines_name_files_and_urls() -> None:
    lines = [{"prompt": "a", "images": ["cat.png", URL]}, {"prompt": "b", "images": [{"url": URL}]}]
    found = images_of("p.jsonl", "\n".join(map(json.dumps, lines)), images=["my cat.png"])
    assert found == [(Path("cat.png"), URL), (URL,)]


def test_all_problems_are_told_at_once_and_nothing_is_sent(toapis: Toapis, serve: Serve) -> None:
    simulator = serve()
    Path("p.csv").write_text(
        f'prompt,image\na,gone.png\nb,cat.png {"x" * 5000}\nc,"ftp://x data:image/png;base64,AA"\n'
    )
    ended = toapis("generate", "--from", "p.csv", "d", "--size", "7:7", "--image", "p.csv")
    assert ended.code == 2
    for said in (
        "arguments, prompt 1: images[0]: p.csv is not a jpeg, png or webp picture",
        "p.csv, line 2: images[0]: gone.png does not exist",
        "p.csv, line 3: images[1]: ",
        "p.csv, line 4: images[0]: 'ftp://x' is not an http(s) URL",
        "p.csv, line 4: images[1]: 'data:image/png;base64,AA' is not an http(s) URL",
        "size: '7:7'",
    ):
        assert said in ended.err
    assert len(ended.err) < 2000
    assert simulator.requests == ()


@pytest.mark.usefixtures("quick")
def test_a_picture_of_all_prompts_is_uploaded_once_and_the_same_command_again_sends_nothing(
    toapis: Toapis, serve: Serve
) -> None:
    simulator = serve()
    command = ("generate", "a", "b", "c", "--image", "cat.png", "--image", URL)
    assert toapis(*command).code == 0
    assert len(simulator.uploads) == 1
    assert sent(simulator) == [[simulator.uploads[0].url, URL]] * 3
    assert len(pictures()) == 3
    seen = len(simulator.requests)
    Path("cat.png").rename("moved.png")
    assert toapis(*command[:-3], "moved.png", "--image", URL).code == 0
    assert len(simulator.requests) == seen


@pytest.mark.usefixtures("quick")
def test_pictures_work_with_the_built_in_simulator(toapis: Toapis) -> None:
    ended = toapis("generate", "a", "--simulate", "--image", "my cat.png")
    assert ended.code == 0, ended.err
    assert len(pictures()) == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("harm", ["gone", "changed", "back"])
def test_a_run_goes_on_without_its_prompts_if_the_picture_is_where_it_was(
    toapis: Toapis, serve: Serve, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = serve(faults=[faults.error(401, "unauthorized", kind="upload")])
    assert toapis("generate", "a", "--image", "cat.png").code == 3
    assert simulator.charges == ()
    cat = Path("cat.png").absolute()
    if harm == "gone":
        cat.unlink()
    elif harm == "changed":
        cat.write_bytes(draw("a dog", 0))
    journal = Path("out/toapis-journal.db").absolute()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    ended = toapis("resume", journal)
    if harm == "back":
        assert ended.code == 0, ended.err
        assert len(simulator.charges) == 1
        return
    assert ended.code == 1
    said = "does not exist" if harm == "gone" else "was changed after it was handed over"
    assert f"images[0]: {cat} {said}" in ended.err
    assert simulator.charges == ()
    cat.write_bytes(CAT)
    assert toapis("resume", journal).code == 0
    assert len(simulator.charges) == 1


def test_a_picture_that_vanishes_while_keys_are_checked_is_told(toapis: Toapis, serve: Serve, quick: object) -> None:
    del quick
    serve()
    Path("p.jsonl").write_text(json.dumps({"prompt": "a", "key": "mine", "images": ["cat.png"]}))
    assert toapis("generate", "--from", "p.jsonl").code == 0

    from toapis_async.cli.journal import check_keys

    request = ImageRequest("a", images=[Path("gone.png")])
    with pytest.raises(UsageError, match="does not exist"):
        check_keys([("mine", request)], Path("out/toapis-journal.db"))
