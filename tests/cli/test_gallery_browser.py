"""The page in a browser: what is to be seen, that nothing else is loaded, and that all of it can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

import pytest
from aiohttp import web

from .browser import Page, needs_chromium
from .conftest import Toapis
from .gallery import ENLARGED, LOADED, PROMPTS, SHOWN, entry, failed, show, write_folder

pytestmark = [pytest.mark.anyio, needs_chromium]

HOSTILE: Final = (
    "</script><script>window.hurt = 1</script><img src=x onerror='window.hurt = 1'>\u2028\u202e{{data}} &amp;"
)


@pytest.fixture
def anyio_backend() -> str:
    """A browser lives in real time."""
    return "asyncio"


async def test_pictures_prompts_and_failures_are_shown_and_nothing_else_is_loaded(page: Page, toapis: Toapis) -> None:
    name = "50% #1? ü 'a' \"b\" <i>&amp; .png"
    entries = [
        entry("a", prompt="a fox", files=["a-0.png", name], seconds=83.4),
        failed("b", "the prompt was rejected"),
        entry("c", state="timed_out", error="still running", files=[]),
        entry("d", prompt=None, files=[], download_error="HTTP 404"),
    ]
    await show(page, toapis, *entries)
    await page.until(LOADED)
    texts = await page.evaluate(f"{SHOWN}.map((tile) => tile.innerText.split(/\\n+/))")
    assert texts == [
        ["a fox", "grok-4-1-image · 1 min 23 s · 1\u00a0of\u00a02"],
        ["a fox", "grok-4-1-image · 1 min 23 s · 2\u00a0of\u00a02"],
        ["Failed", "the prompt was rejected", "a fox, number b", "grok-4-1-image · 12 s"],
        ["Timed out", "still running", "a fox, number c", "grok-4-1-image · 12 s"],
        ["Not saved", "HTTP 404", "No prompt known", "grok-4-1-image · 12 s"],
    ]
    assert await page.evaluate("[document.title, document.querySelector('#count').textContent]") == [
        "out",
        "2 pictures, 3 problems",
    ]
    files = [(Path("out") / name).resolve().as_uri() for name in ("index.html", "a-0.png", name)]
    asked = [url for url in page.requests if not url.startswith("data:")]
    assert sorted(url.replace("'", "%27") for url in asked) == sorted(url.replace("'", "%27") for url in files)
    assert page.complaints == []


async def test_the_page_works_from_a_web_server_too(page: Page, toapis: Toapis) -> None:
    folder = write_folder(Path("out"), entry("a", files=["50% #1?.png"]))
    assert toapis("gallery").code == 0
    app = web.Application()
    app.router.add_static("/pictures", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await page.open(f"{origin}/pictures/index.html")
        await page.until(LOADED)
    finally:
        await runner.cleanup()
    asked = [url.removeprefix(origin) for url in page.requests if not url.startswith("data:")]
    assert asked == ["/pictures/index.html", "/pictures/50%25%20%231%3F.png"]
    assert page.complaints == []


async def test_a_hostile_prompt_is_text(page: Page, toapis: Toapis) -> None:
    await show(page, toapis, entry("a", prompt=HOSTILE, model=HOSTILE), failed("b", HOSTILE, prompt=HOSTILE))
    await page.until(LOADED)
    assert await page.evaluate(PROMPTS) == [HOSTILE, HOSTILE]
    await page.click(".open")
    assert await page.evaluate(ENLARGED) == HOSTILE
    await page.press("ArrowRight")
    assert await page.evaluate("document.querySelector('.stage .problem p').textContent") == HOSTILE
    assert await page.evaluate("window.hurt === undefined && document.scripts.length") == 2
    assert page.complaints == []


async def test_nothing_foreign_runs_or_is_loaded(page: Page, toapis: Toapis) -> None:
    await show(page, toapis, entry("a"))
    refused = await page.evaluate("""(async () => {
      const refused = [];
      document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
      new Image().src = "http://127.0.0.1:1/picture.png";
      await fetch("http://127.0.0.1:1/").catch(() => {});
      const script = document.createElement("script");
      script.textContent = "window.hurt = 1";
      document.head.append(script);
      document.body.setAttribute("style", "color: red");
      while (refused.length < 4) await new Promise((resolve) => setTimeout(resolve, 10));
      return refused.sort();
    })()""")
    assert refused == ["connect-src", "img-src", "script-src-elem", "style-src-attr"]
    assert await page.evaluate("window.hurt === undefined")


async def test_two_thousand_pictures_are_there_at_once_and_load_when_they_are_seen(page: Page, toapis: Toapis) -> None:
    folder = write_folder(Path("out"), entry("0"))
    picture = (folder / "0-0.png").read_bytes()
    lines = [json.dumps(entry(str(number), prompt=f"fox {number} of many")) for number in range(2000)]
    (folder / "manifest.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for number in range(2000):
        (folder / f"{number}-0.png").write_bytes(picture)
    assert toapis("gallery").code == 0
    await page.open((folder / "index.html").resolve().as_uri())
    assert await page.evaluate("document.querySelector('#count').textContent") == "2,000 pictures"
    assert await page.evaluate("document.querySelectorAll('.tile').length") == 2000
    # A list item is renumbered whenever another one is hidden: filtering would take seconds.
    assert await page.evaluate("getComputedStyle(document.querySelector('.tile')).display") == "block"
    await page.until("document.querySelector('.open img').naturalWidth")
    assert sum(url.endswith(".png") for url in page.requests) < 200
    await page.press("Tab", "Tab", "End")
    await page.until("document.querySelector('.tile:last-child img').naturalWidth")
    assert sum(url.endswith(".png") for url in page.requests) < 400
    await page.press("/")
    await page.call("Input.insertText", text="fox 1999")
    assert await page.evaluate(PROMPTS) == ["fox 1999 of many"]


CONTRASTS: Final = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = parts(colour).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const colour = element ? getComputedStyle(element).backgroundColor : "rgb(255, 255, 255)";
    return parts(colour)[3] === 0 ? ground(element.parentElement) : colour;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = {};
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest(".unseen")) continue;
    const [low, high] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => a - b);
    found[walker.currentNode.data] = (high + 0.05) / (low + 0.05);
  }
  return found;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read_on_its_ground_by_day_and_by_night(
    page: Page, toapis: Toapis, scheme: Literal["light", "dark"]
) -> None:
    await page.prefer(scheme)
    entries = [
        entry("a"),
        failed("b", "rejected"),
        entry("c", state="unresolved", error="perhaps", files=[], prompt=None),
    ]
    await show(page, toapis, *entries, entry("d", download_error="HTTP 404"))
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(250, 249, 247)", "dark": "rgb(21, 21, 20)"}[scheme]
    contrasts: dict[str, float] = await page.evaluate(CONTRASTS)
    await page.click(".tile:nth-child(4) .open")
    contrasts |= await page.evaluate(CONTRASTS)
    assert {"Failed", "rejected", "perhaps", "No prompt known", "Copy prompt", "HTTP 404", "d-0.png"} <= set(contrasts)
    assert not {text: ratio for text, ratio in contrasts.items() if ratio < 4.5}


@pytest.mark.parametrize("width", [390, 320])
async def test_nothing_sticks_out_on_a_phone(page: Page, toapis: Toapis, width: int) -> None:
    long = "wide" * 200
    entries = [entry("a", prompt=long, model=long), failed(long[:80], long), entry("c", files=[f"{long[:120]}.png"])]
    await show(page, toapis, *entries, width=width)
    fits = "document.scrollingElement.scrollWidth <= innerWidth && viewer.scrollWidth <= innerWidth"
    tops = await page.evaluate(f"{SHOWN}.map((tile) => tile.offsetTop)")
    assert tops[0] == tops[1] < tops[2]
    assert await page.evaluate(fits)
    await page.click(".open")
    for _ in entries:
        assert await page.evaluate(fits)
        await page.press("ArrowRight")
