"""`--gallery` of `toapis generate` and `toapis resume`: the page at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from toapis_async.testing import faults

from .conftest import Serve, Toapis
from .gallery import data_of, entry, write_folder

pytestmark = pytest.mark.usefixtures("quick")
PAGE = Path("out/index.html")


def test_a_run_ends_with_the_place_of_its_page(toapis: Toapis, serve: Serve) -> None:
    serve()
    write_folder(Path("out"), entry("earlier"))
    ended = toapis("generate", "a fox", "--gallery")
    assert ended.code == 0
    assert ended.err.splitlines()[-1].startswith("Gallery of ")
    assert ended.err.endswith(f": {PAGE}\n")
    assert str(PAGE) not in ended.out
    assert "a fox, number earlier" in {item.get("prompt") for item in data_of(PAGE.read_text(encoding="ascii"))}


def test_the_simulator_can_do_it_too(toapis: Toapis) -> None:
    write_folder(Path("out"), entry("earlier"))
    ended = toapis("generate", "a fox", "--simulate", "--gallery", "--json", "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("\n") == 1
    assert PAGE.exists()


def test_without_the_option_there_is_no_page(toapis: Toapis, serve: Serve) -> None:
    serve()
    write_folder(Path("out"), entry("earlier"))
    assert toapis("generate", "a fox").code == 0
    assert not PAGE.exists()


def test_a_run_that_ends_early_has_a_page_too_and_goes_on_with_one(toapis: Toapis, serve: Serve) -> None:
    serve(faults=[faults.error(402, "insufficient balance", kind="submit", nth=1)])
    write_folder(Path("out"), entry("earlier"))
    ended = toapis("generate", "a fox", "--gallery")
    assert ended.code == 3
    assert "  toapis resume out/toapis-journal.db --gallery\n" in ended.err
    assert PAGE.exists()
    PAGE.unlink()
    resumed = toapis("resume", "out/toapis-journal.db", "--gallery")
    assert resumed.code == 0
    assert resumed.err.splitlines()[-1].endswith(f": {PAGE}")
    assert PAGE.exists()


def test_a_page_that_cannot_be_made_costs_no_picture_and_is_told(toapis: Toapis, serve: Serve) -> None:
    serve()
    write_folder(Path("out"), entry("earlier"))
    PAGE.write_text("mine", encoding="utf-8")
    ended = toapis("generate", "a fox", "--gallery", "--quiet")
    assert ended.code == 1
    assert ended.err == f"No gallery: {PAGE}: this page is not one of toapis gallery, and was left as it is\n"
    assert Path(ended.out.strip()).read_bytes().startswith(b"\x89PNG")
    assert PAGE.read_text(encoding="utf-8") == "mine"


def test_a_run_shows_its_own_pictures(toapis: Toapis) -> None:
    ended = toapis("generate", "a fox", "an owl", "--simulate", "--gallery")
    assert ended.code == 0
    assert ended.err.endswith(f"Gallery of 2 pictures: {PAGE}\n")
    items = data_of(PAGE.read_text(encoding="ascii"))
    assert {item["prompt"] for item in items} == {"a fox", "an owl"}
    assert all((PAGE.parent / picture["name"]).exists() for item in items for picture in item["pictures"])
