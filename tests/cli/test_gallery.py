"""`toapis gallery`: the page as a file, and what is in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from toapis_async.cli.gallery.items import to_item, url_of
from toapis_async.cli.gallery.page import embed, make_page
from toapis_async.cli.text import clean

from .conftest import Toapis
from .gallery import data_of, entry, failed, title_of, write_folder

# Also surrogates, which JSON can hold and a prompt that came from somewhere may have.
CHARACTERS = st.characters(exclude_categories=())
FRAGMENTS = st.sampled_from([
    "</script>",
    "<!--",
    "<script>",
    "]]>",
    "\u2028",
    "{{data}}",
    "{{script}}",
    "&lt;",
    '"',
    "\\",
])
HOSTILE = st.lists(st.text(CHARACTERS) | FRAGMENTS, max_size=6).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE,
    lambda some: st.lists(some) | st.dictionaries(HOSTILE, some),
    max_leaves=8,
)


def test_the_page_is_written_beside_the_pictures_and_its_path_printed(toapis: Toapis) -> None:
    write_folder(
        Path("deep/pictures"), entry("a"), failed("b", "the prompt was rejected"), entry("c", files=["1.png", "2.png"])
    )
    ended = toapis("gallery", "deep/pictures")
    assert (ended.code, ended.out) == (0, f"{Path('deep/pictures/index.html')}\n")
    assert ended.err == "A gallery of 3 pictures, 1 problem.\n"
    page = Path("deep/pictures/index.html").read_text(encoding="ascii")
    assert title_of(page) == "pictures"
    assert [item["key"] for item in data_of(page)] == ["a", "b", "c"]
    assert sorted(path.name for path in Path("deep/pictures").iterdir() if path.suffix != ".png") == [
        "index.html",
        "manifest.jsonl",
    ]


def test_the_folder_is_out_unless_another_is_named(toapis: Toapis) -> None:
    write_folder(Path("out"), entry("a"))
    assert toapis("gallery").out == f"{Path('out/index.html')}\n"


def test_the_page_of_the_folder_one_is_in_has_its_name(toapis: Toapis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_folder(Path("foxes <b>&amp; ünï"), entry("a")))
    assert toapis("gallery", ".").code == 0
    assert title_of(Path("index.html").read_text(encoding="ascii")) == "foxes <b>&amp; ünï"


def test_a_page_of_ours_is_replaced_and_one_of_somebody_else_is_not(toapis: Toapis) -> None:
    folder = write_folder(Path("out"), entry("a"))
    assert toapis("gallery").code == 0
    write_folder(folder, entry("a"), entry("b"))
    assert toapis("gallery").code == 0
    assert len(data_of((folder / "index.html").read_text(encoding="ascii"))) == 2
    (folder / "index.html").write_text("<title>mine</title>", encoding="utf-8")
    ended = toapis("gallery")
    assert (ended.code, ended.out) == (2, "")
    assert (
        ended.err == f"toapis: {folder / 'index.html'}: this page is not one of toapis gallery, and was left as it is\n"
    )
    assert (folder / "index.html").read_text(encoding="utf-8") == "<title>mine</title>"


def test_a_folder_without_a_manifest_is_one_line(toapis: Toapis) -> None:
    Path("empty").mkdir()
    for folder in ("empty", "nowhere"):
        ended = toapis("gallery", folder)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == f"toapis: {folder}: there is no manifest.jsonl in this folder to make a gallery from\n"
    Path("empty/manifest.jsonl").mkdir()
    assert toapis("gallery", "empty").err.startswith(f"toapis: {Path('empty/manifest.jsonl')}: ")


def test_a_page_that_cannot_be_written_leaves_the_last_one_and_nothing_else(
    toapis: Toapis, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(Path("out"), entry("a"))
    assert toapis("gallery").code == 0
    before = (folder / "index.html").read_bytes()
    write_folder(folder, entry("a"), entry("b"))

    def fail(self: Path, target: Path) -> Path:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", fail)
    ended = toapis("gallery")
    assert (ended.code, ended.err) == (2, f"toapis: {folder / 'index.html'}: {os.strerror(28)}\n")
    assert (folder / "index.html").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["a-0.png", "b-0.png", "index.html", "manifest.jsonl"]


def test_an_item_holds_what_is_shown_and_nothing_else() -> None:
    assert to_item(entry("a", parameters={"size": "1:1", "callback_url": "https://example.com/?token=1"})) == {
        "key": "a",
        "state": "completed",
        "prompt": "a fox, number a",
        "model": "grok-4-1-image",
        "id": "tsk_img_a",
        "size": "1:1",
        "seconds": 12.0,
        "ended": "2026-05-01T12:00:12Z",
        "cost": "0.02",
        "pictures": [{"name": "a-0.png", "url": "a-0.png"}],
    }
    unknown = entry(
        "b", state="unresolved", task_id=None, prompt=None, model=None, error="lost", files=[], billing=None
    )
    assert to_item({**unknown, "completed_at": None, "seconds": None, "parameters": {}}) == {
        "key": "b",
        "state": "unresolved",
        "id": "cbb",
        "ended": "2026-05-01T12:00:13Z",
        "error": "lost",
        "pictures": [],
    }
    assert to_item(entry("c", download_error="HTTP 404", files=[]))["error"] == "HTTP 404"


@given(st.dictionaries(st.sampled_from(sorted(entry("a"))), JSON))
def test_whatever_an_entry_holds_it_becomes_an_item_of_the_documented_types(given_entry: dict[str, Any]) -> None:
    item = to_item(given_entry)
    assert embed([item])
    for name, value in item.items():
        if name == "pictures":
            assert all(isinstance(text, str) for picture in value for text in picture.values())
        else:
            assert isinstance(value, float if name == "seconds" else str)


@given(HOSTILE, st.lists(st.fixed_dictionaries({"prompt": HOSTILE, "error": HOSTILE})))
def test_no_text_leaves_its_place_in_the_page(title: str, items: list[dict[str, Any]]) -> None:
    page, empty = make_page(title, items), make_page("", [])
    assert page.isascii()
    assert data_of(page) == items
    assert page.count("<") == empty.count("<")
    assert page.count(">") == empty.count(">")
    assert title_of(page) == clean(title)


@given(st.lists(st.text(CHARACTERS, min_size=1), min_size=1, max_size=3).map("/".join))
def test_the_url_of_a_file_is_a_relative_path_that_means_this_file(name: str) -> None:
    url = url_of(name)
    assume(url is not None)
    assert url is not None
    assert url.isascii()
    split = urlsplit(urljoin("file:///a/b/index.html", url))
    assert (split.scheme, split.netloc, split.query, split.fragment) == ("file", "", "", "")
    assert unquote_to_bytes(split.path) == b"/a/b/" + name.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "name", ["", "/etc/x.png", "//host/x.png", "../x.png", "a/../../x.png", "a//b", ".", "a/", "\0", "\ud800"]
)
def test_a_file_outside_the_folder_is_not_shown(name: str) -> None:
    assert url_of(name) is None
    assert to_item(entry("a", files=[name, 1, "a.png"]))["pictures"] == [{"name": "a.png", "url": "a.png"}]


@pytest.mark.parametrize("seconds", ["1e999", "NaN", "-1", "true", '"12"', "9" * 400])
def test_a_duration_that_is_none_is_left_out(toapis: Toapis, seconds: str) -> None:
    folder = write_folder(Path("out"), entry("a"))
    text = (folder / "manifest.jsonl").read_text(encoding="utf-8")
    (folder / "manifest.jsonl").write_text(text.replace("12.0", seconds), encoding="utf-8")
    assert toapis("gallery").code == 0
    (item,) = data_of((folder / "index.html").read_text(encoding="ascii"))
    assert "seconds" not in item


def test_an_empty_manifest_makes_an_empty_page(toapis: Toapis) -> None:
    write_folder(Path("out"))
    ended = toapis("gallery")
    assert (ended.code, ended.err) == (0, "A gallery of 0 pictures.\n")
    assert json.dumps(data_of(Path("out/index.html").read_text(encoding="ascii"))) == "[]"
