"""The page in a browser: filtered, enlarged and copied from, by mouse and by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from .browser import Page, needs_chromium
from .conftest import Toapis
from .gallery import ENLARGED, FOCUSED, PROMPTS, entry, failed, foxes, show, write_folder

pytestmark = [pytest.mark.anyio, needs_chromium]


@pytest.fixture
def anyio_backend() -> str:
    """A browser lives in real time."""
    return "asyncio"


async def test_the_filter_finds_words_in_any_order_and_kinds(page: Page, toapis: Toapis) -> None:
    entries = [entry("a", prompt="a RED fox"), entry("b", prompt="ein Bär, rot"), failed("c", "too red", prompt="fox")]
    await show(page, toapis, *entries)
    await page.press("/")
    for keys, found in (
        ("fox red", ["a RED fox", "fox"]),
        ("x", []),
        ("", ["a RED fox", "ein Bär, rot", "fox"]),
        ("BÄR", ["ein Bär, rot"]),
        ("b-0.png", ["ein Bär, rot"]),
        ("grok", ["a RED fox", "ein Bär, rot", "fox"]),
    ):
        if keys != "x":
            await page.evaluate("document.activeElement.select()")
        if keys:
            await page.call("Input.insertText", text=keys)
        else:
            await page.evaluate(
                "document.activeElement.value = ''; document.activeElement.dispatchEvent(new Event('input'))"
            )
        assert await page.evaluate(PROMPTS) == found, keys
    await page.click("[data-kind=problem]")
    assert await page.evaluate(PROMPTS) == ["fox"]
    assert await page.evaluate("document.querySelector('#count').textContent") == "1 of 3 shown"
    await page.click("#filter")
    await page.call("Input.insertText", text="whale")
    assert await page.evaluate("document.querySelector('#nothing').innerText") == "Nothing fits the filter.\n\nShow all"
    await page.click("#clear")
    assert await page.evaluate(PROMPTS) == ["a RED fox", "ein Bär, rot", "fox"]
    assert await page.evaluate("document.activeElement.id") == "filter"


async def test_a_picture_is_enlarged_and_left_by_keys_alone(page: Page, toapis: Toapis) -> None:
    await show(page, toapis, *foxes(12))
    columns = await page.evaluate(
        "getComputedStyle(document.querySelector('#grid')).gridTemplateColumns.split(' ').length"
    )
    assert columns == 5
    await page.press("Tab", "Tab")
    assert await page.evaluate(FOCUSED) == 0
    for key, place in (
        ("ArrowLeft", 0),
        ("ArrowRight", 1),
        ("ArrowDown", 6),
        ("ArrowLeft", 5),
        ("ArrowUp", 0),
        ("End", 11),
        ("ArrowDown", 11),
        ("Home", 0),
        ("ArrowDown", 5),
    ):
        await page.press(key)
        assert await page.evaluate(FOCUSED) == place, key
    await page.press("Enter")
    assert await page.evaluate(ENLARGED) == "fox 5"
    for key, prompt in (("ArrowRight", "fox 6"), ("End", "fox 11"), ("ArrowRight", "fox 0"), ("ArrowLeft", "fox 11")):
        await page.press(key)
        assert await page.evaluate(ENLARGED) == prompt, key
    assert await page.evaluate("document.querySelector('.place').textContent") == "12 of 12"
    for _ in range(8):  # Tab goes round in the dialog, by way of the browser's own buttons
        await page.press("Tab")
        assert await page.evaluate(
            "document.activeElement === document.body || viewer.contains(document.activeElement)"
        )
    await page.press("Escape")
    await page.until("!viewer.open")
    await page.until(f"{FOCUSED} === 11")


async def test_a_picture_is_enlarged_and_left_with_the_mouse(page: Page, toapis: Toapis) -> None:
    await show(page, toapis, *foxes(3), failed("bad", "the prompt was rejected"))
    await page.click(".tile:nth-child(2) .open")
    await page.until("viewer.querySelector('img').complete && viewer.querySelector('img').naturalWidth === 320")
    assert await page.evaluate(ENLARGED) == "fox 1"
    await page.click(".next")
    await page.click(".next")
    assert await page.evaluate("viewer.querySelector('.stage').innerText") == "Failed\n\nthe prompt was rejected"
    await page.click(".back")
    details = await page.evaluate("[...viewer.querySelectorAll('dl > *')].map((part) => part.textContent)")
    shown = dict(zip(details[::2], details[1::2], strict=True))
    assert (shown["Model"], shown["Size"], shown["Took"], shown["Cost"]) == ("grok-4-1-image", "16:9", "12 s", "$0.02")
    assert (shown["Task"], shown["File"]) == ("tsk_img_2", "2-0.png")
    await page.click(".close")
    assert await page.evaluate("viewer.open") is False
    await page.click(".open")
    await page.click(".stage img")
    assert await page.evaluate("viewer.open") is False


async def test_the_arrows_go_through_what_the_filter_left(page: Page, toapis: Toapis) -> None:
    await show(page, toapis, *foxes(12))
    await page.click("#filter")
    await page.call("Input.insertText", text="tsk_img_1")
    assert await page.evaluate(PROMPTS) == ["fox 1", "fox 10", "fox 11"]
    await page.press("Tab", "ArrowRight", "Enter", "ArrowRight")
    assert await page.evaluate(ENLARGED) == "fox 11"
    await page.press("ArrowRight")
    assert await page.evaluate(ENLARGED) == "fox 1"


async def test_a_prompt_is_copied_as_it_is(page: Page, toapis: Toapis) -> None:
    prompt = "a fox,\n  on two lines <b> ü"
    await show(page, toapis, entry("a", prompt=prompt), entry("b", prompt="an owl"), entry("c", prompt=None))
    await page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    await page.click(".copy")
    await page.until("said.textContent === 'Copied'")
    assert await page.evaluate("navigator.clipboard.readText()") == prompt
    await page.until("said.textContent === ''")
    assert await page.evaluate("document.querySelector('.tile:nth-child(3) .copy').checkVisibility()") is False
    await page.click(".tile:nth-child(2) .open")
    await page.click("#viewer .copy")
    await page.until("viewer.querySelector('.copy').innerText === 'Copied'")
    assert await page.evaluate("navigator.clipboard.readText()") == "an owl"


async def test_a_prompt_is_copied_where_the_page_may_not_use_the_clipboard(page: Page, toapis: Toapis) -> None:
    await show(page, toapis, entry("a", prompt="a fox"))
    await page.click(".open")
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })")
    await page.click("#viewer .copy")
    await page.until("viewer.querySelector('.copy').innerText === 'Copied'")
    assert await page.evaluate("document.activeElement.matches('.copy')")
    await page.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    assert await page.evaluate("delete navigator.clipboard; navigator.clipboard.readText()") == "a fox"


async def test_a_file_that_is_gone_is_told(page: Page, toapis: Toapis) -> None:
    folder = write_folder(Path("out"), entry("a"), entry("b"))
    (folder / "a-0.png").unlink()
    assert toapis("gallery").code == 0
    await page.open((folder / "index.html").resolve().as_uri())
    await page.until("document.querySelector('.open').innerText === 'File missing\\na-0.png'")
    await page.click(".open")
    assert "The file is not here any more." in await page.evaluate("viewer.innerText")


async def test_whoever_does_not_see_the_page_is_told_what_is_there(page: Page, toapis: Toapis) -> None:
    await show(page, toapis, entry("a", prompt="a fox"), failed("b", "rejected", prompt="an owl"))
    assert await page.evaluate("[...document.querySelectorAll('.open img')].map((image) => image.alt)") == ["a fox"]

    async def named() -> set[tuple[str, str]]:
        nodes = (await page.call("Accessibility.getFullAXTree"))["nodes"]
        found = {(node["role"]["value"], node["name"]["value"]) for node in nodes if not node["ignored"]}
        return {(role, name) for role, name in found if role in {"button", "dialog", "list", "searchbox", "heading"}}

    assert await named() == {
        ("heading", "out"),
        ("list", "Pictures"),
        ("searchbox", "Filter by prompt, model or file"),
        ("button", "All"),
        ("button", "Pictures"),
        ("button", "Problems"),
        ("button", "a fox"),
        ("button", "Failed: an owl"),
        ("button", "Copy prompt"),
    }
    await page.click(".open")
    buttons = {("button", name) for name in ("Previous", "Next", "Close", "Copy prompt")}
    assert await named() == {("dialog", "Picture"), *buttons}
    await page.press("Tab")
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
