"""Names of pictures: one for each picture, the same in every run, and possible on every file system."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toapis_async import Completed, GeneratedImage, GenerationTask, ImageRequest, TaskStatus, ToapisSession
from toapis_async._files.defaults import DEFAULT_NAME
from toapis_async._files.names import Template, folded, safe, slug
from toapis_async.testing import Simulator

anything = st.text(st.characters(), max_size=300)
MOMENT = datetime(2026, 11, 22, 23, 59, tzinfo=UTC)


def task(count: int = 1, *, task_id: str = "tsk_1", model: str | None = "grok-4-1-image") -> GenerationTask:
    images = tuple(GeneratedImage(url=f"http://127.0.0.1/{number}") for number in range(count))
    return GenerationTask(id=task_id, status=TaskStatus.COMPLETED, images=images, model=model, completed_at=MOMENT)


@pytest.mark.parametrize(
    ("template", "stems"),
    [
        (DEFAULT_NAME, ["fox-0", "fox-1"]),
        ("{id}.{index}{ext}", ["tsk_1.0", "tsk_1.1"]),
        ("{date} {model} {prompt}{ext}", [f"2026-11-22 grok-4-1-image a-red-fox-{index}" for index in range(2)]),
        ("{{{key}}}_{index}{ext}", ["{fox}_0", "{fox}_1"]),
        ("picture{ext}", ["picture-0", "picture-1"]),
        ("COM{index}{ext}", ["_COM0", "_COM1"]),
        ("..{key}{index}{ext}", ["_..fox0", "_..fox1"]),
    ],
)
def test_a_template_is_filled_in(template: str, stems: list[str]) -> None:
    named = Template(template).names(task(2), key="fox", request=ImageRequest("A red fox!"))
    assert list(named.stems) == stems


def test_a_lone_picture_needs_no_index() -> None:
    assert Template("{key}{ext}").names(task(), key="fox").stems == ("fox",)


def test_what_is_not_known_of_a_task_has_a_name_all_the_same() -> None:
    bare = GenerationTask(id="tsk_1", status=TaskStatus.COMPLETED, images=task().images)
    assert Template("{key}_{prompt}_{model}_{date}{ext}").names(bare).stems == ("tsk_1_tsk_1_unknown_undated",)
    named = Template("{model}{ext}").names(bare, request=ImageRequest("fox", model="m/1"))
    assert named.stems == (safe("m/1"),)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{key}-{size}{ext}", r"unknown field \{size\}; the fields are \{key\}, \{index\}, .* and \{ext\} is the end"),
        ("{}{ext}", r"unknown field \{\}"),
        ("{key.x}{ext}", r"unknown field \{key\.x\}"),
        ("{key", "is no template: "),
        ("{key}}{ext}", "is no template: "),
        ("{key}", r"does not end in \{ext\}"),
        ("{key}{ext}.png", r"does not end in \{ext\}"),
        ("{ext}{key}{ext}", r"does not end in \{ext\}"),
        ("", r"does not end in \{ext\}"),
        ("{ext}", "leaves nothing"),
        ("{key}/{index}{ext}", "'/': names have no folders"),
        ("..\\{key}{ext}", r"'\\\\': names have no folders"),
        ("{key}:{index}{ext}", "':': it is not allowed"),
        ("{key}\n{ext}", "not allowed"),
        ("{index:03}{ext}", r"wants \{index\} in a form of its own"),
        ("{key!r}{ext}", r"wants \{key\} in a form of its own"),
    ],
)
async def test_what_is_no_template_is_refused_before_anything_is_fetched(
    session: ToapisSession, sim: Simulator, tmp_path: Path, template: str, said: str
) -> None:
    with pytest.raises(ValueError, match=f"^name: .*{said}"):
        await session.download(task(), tmp_path / "new", name=template)
    assert not sim.requests
    assert not list(tmp_path.iterdir())


@given(anything)
def test_any_text_makes_a_safe_part_of_a_name(text: str) -> None:
    name = safe(text)
    assert name
    assert len(name.encode()) <= 100
    assert not set(name) & set('<>:"/\\|?* ')
    assert name.isprintable() or all(unicodedata.category(c)[0] in "LMN" for c in name if not c.isprintable())
    assert not name.startswith(".")
    assert name.partition(".")[0].lower() not in {"con", "nul", "aux", "prn", "com1", "lpt9"}
    assert unicodedata.is_normalized("NFC", name)
    assert safe(text) == name


@given(st.lists(anything, min_size=2, max_size=5, unique=True))
def test_distinct_texts_make_distinct_names(texts: list[str]) -> None:
    assert len({safe(text) for text in texts}) == len(texts)
    assert len({folded(safe(text, distinct=True)) for text in texts}) == len(texts)


@given(anything, anything)
def test_a_whole_name_is_short_and_in_the_folder(key: str, prompt: str) -> None:
    template = Template("{key}_{id}_{model}_{prompt}_{index}{ext}")
    (stem,) = template.names(task(task_id=key, model=key), key=key, request=ImageRequest(prompt)).stems
    assert len(stem.encode()) <= 180
    assert not set(stem) & set("/\\")
    assert not stem.startswith(".")


@pytest.mark.parametrize("name", ["tsk_img_01K", "fox", "Fox-2", "a.b", "3f0c9a", "\u72d0\u72f8", "x" * 80])
def test_what_is_safe_already_stays_as_it_is(name: str) -> None:
    assert safe(name) == name


@pytest.mark.parametrize(
    "name", ["con", "NUL", "Aux.txt", "lpt1", "COM\u00b9", "a/b", "..", "a b", "e\u0301", "x" * 81]
)
def test_what_some_system_refuses_gets_a_name_of_its_own(name: str) -> None:
    assert safe(name) != name
    assert safe(name) != safe(name.lower() + "_")


def test_a_slug_is_the_first_words() -> None:
    assert slug("  A red fox, in the (deep) forest...  ") == "a-red-fox-in-the-deep-forest"
    assert slug("\u4e00\u53ea\u7ea2\u8272\u7684\u72d0\u72f8") == "\u4e00\u53ea\u7ea2\u8272\u7684\u72d0\u72f8"
    assert slug("word " * 50) == "-".join(["word"] * 12)
    assert len(slug("\u72d0" * 100).encode()) == 60
    assert slug("!?") == ""


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # files are written by threads, which virtual time does not see
async def test_an_outcome_is_saved_under_its_key_and_prompt(
    session: ToapisSession, sim: Simulator, tmp_path: Path
) -> None:
    paid = await session.submit(request := ImageRequest("a red fox"))
    sim.complete(paid.id)
    done = await session.get(paid.id)
    outcome = Completed(key="fox", request=request, task_id=done.id, client_business_id=None, task=done)
    (file,) = await session.download(outcome, tmp_path, name="{key} {prompt}{ext}")
    assert file.name == "fox a-red-fox.png"
    (own,) = await session.download(done, tmp_path, name="{prompt}{ext}")
    assert own.name == f"{done.id}.png"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_picture_of_another_task_keeps_its_name_and_content(
    session: ToapisSession, sim: Simulator, tmp_path: Path
) -> None:
    saved: list[Path] = []
    for prompt in ("a fox", "an owl"):
        paid = await session.submit(ImageRequest(prompt))
        sim.complete(paid.id)
        for _ in range(2):  # again, it is found
            saved += await session.download(await session.get(paid.id), tmp_path, name="{date}{ext}")
    fox, owl = saved[0], saved[2]
    assert saved == [fox, fox, owl, owl]
    assert owl.stem.startswith(f"{fox.stem}-")
    assert fox.read_bytes() != owl.read_bytes()
    assert sorted(tmp_path.iterdir()) == [owl, fox] or sorted(tmp_path.iterdir()) == [fox, owl]
