"""What is read from arguments and files, and what is said about input that cannot be used."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from toapis_async import ImageRequest
from toapis_async.cli.exits import UsageError
from toapis_async.cli.inputs import read_input
from toapis_async.cli.plan import make_plan


def plan(name: str, content: str | bytes, /, *prompts: str, **defaults: Any) -> list[tuple[str, ImageRequest]]:
    """Write a file and plan it."""
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return make_plan(read_input(prompts, name), defaults).numbered()


def prompts(items: list[tuple[str, ImageRequest]]) -> list[str]:
    return [request.prompt for _, request in items]


def problems(name: str, content: str | bytes, /, *prompts: str, **defaults: Any) -> list[str]:
    with pytest.raises(UsageError) as found:
        plan(name, content, *prompts, **defaults)
    return list(found.value.lines)


def test_a_text_file_holds_one_prompt_a_line_and_blank_lines_are_skipped() -> None:
    items = plan("p.txt", "a fox\r\n\r\n  \n an owl \nlast")
    assert prompts(items) == ["a fox", "an owl", "last"]
    assert [key for key, _ in items] == ["0", "1", "2"]


def test_a_byte_order_mark_is_no_part_of_the_first_prompt() -> None:
    assert prompts(plan("p.txt", b"\xef\xbb\xbfa fox\n")) == ["a fox"]
    assert prompts(plan("p.csv", b"\xef\xbb\xbfprompt\na fox\n")) == ["a fox"]


def test_a_unicode_line_separator_does_not_end_a_prompt() -> None:
    assert prompts(plan("p.txt", "one\u2028prompt\x0bonly\n")) == ["one\u2028prompt\x0bonly"]


def test_prompts_are_read_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a fox\n\nan owl\n")))
    items = make_plan(read_input(["first"], "-"), {}).numbered()
    assert prompts(items) == ["first", "a fox", "an owl"]


def test_a_bare_quote_in_a_tsv_cell_survives() -> None:
    text = 'Prompt\tnote\n"a\tx\nThe words "Fly an airplane" are written\ty\n"quoted"\tz\n'
    assert prompts(plan("p.tsv", text)) == ['"a', 'The words "Fly an airplane" are written', '"quoted"']


def test_a_csv_file_sets_the_fields_it_names_and_its_other_columns_are_told() -> None:
    text = (
        "Category,PROMPT, Key ,model,size,n,image\n"
        'x,"a fox, red\nand ""quick""",fox,grok-4-2-image,16:9,2,https://a/1.png  https://a/2.png\n'
        ",,,,,,\n"
        "y,an owl\n"
    )
    items = plan("p.csv", text, n=4, size="1:1")
    assert items == [
        (
            "fox",
            ImageRequest(
                'a fox, red\nand "quick"',
                model="grok-4-2-image",
                size="16:9",
                n=2,
                images=["https://a/1.png", "https://a/2.png"],
            ),
        ),
        ("0", ImageRequest("an owl", size="1:1", n=4)),
    ]
    assert read_input((), "p.csv").notes == ["p.csv: columns not used: Category"]


def test_a_json_line_is_a_prompt_or_an_object_with_the_fields_of_a_request() -> None:
    text = (
        '"a fox"\n\n'
        '{"prompt": "an owl", "key": "owl", "n": 2, "images": ["https://a/1.png"], "size": null,'
        ' "metadata": {"a": 1}, "extra": {"seed": 7}, "client_business_id": "my-own", "callback_url": "https://b/c"}\n'
    )
    assert plan("p.jsonl", text, size="3:2") == [
        ("0", ImageRequest("a fox", size="3:2")),
        (
            "owl",
            ImageRequest(
                "an owl",
                size="3:2",
                n=2,
                images=["https://a/1.png"],
                metadata={"a": 1},
                extra={"seed": 7},
                client_business_id="my-own",
                callback_url="https://b/c",
            ),
        ),
    ]


def test_numbers_given_as_keys_are_left_out_of_the_numbering() -> None:
    text = "prompt,key\na,1\nb,\nc,\nd,0\n"
    assert [key for key, _ in plan("p.csv", text)] == ["1", "2", "3", "0"]


def test_all_problems_are_told_at_once_each_with_its_place() -> None:
    text = "prompt,n,size,key,image\nok,3,,a,\nok,two,7:7,b,\n,1,,a,\nok,1,,c,ftp://x\nok,,,,,,extra\nok,3,,,\n"
    assert problems("p.csv", text, "", "fine") == [
        "p.csv, line 3: n: 'two' is not a whole number",
        "p.csv, line 6: 7 cells, but the header has 5 columns",
        "p.csv, line 4: key: 'a' was used in line 2, each item needs its own",
        "arguments, prompt 1: prompt: '' is not a text with at least one visible character",
        "p.csv, lines 2, 7: n: 3 is not one of the numbers 1, 2, 4",
        "p.csv, line 3: size: '7:7' is not one of 1:1, 2:3, 3:2, 16:9, 9:16",
        "p.csv, line 4: prompt: '' is not a text with at least one visible character",
        "p.csv, line 5: images[0]: 'ftp://x' is not an http(s) URL",
    ]


def test_a_problem_of_every_line_is_told_once() -> None:
    (only,) = problems("p.txt", "prompt\n" * 1632, n=3)
    assert only == "p.txt, lines 1-1632: n: 3 is not one of the numbers 1, 2, 4"


def test_problems_of_json_lines_name_line_and_field() -> None:
    lines = [
        '{"prompt": "a", "sise": "1:1"}',
        "{",
        "7",
        '{"size": "1:1"}',
        '{"prompt": 5, "key": 6}',
        '{"prompt": "b", "n": "2"}',
    ]
    found = problems("p.jsonl", "\n".join(lines))
    assert found[0].startswith(
        "p.jsonl, line 1: 'sise' is not a field; allowed are prompt, key, model, size, n, images"
    )
    assert found[1].startswith("p.jsonl, line 2: not JSON: ")
    assert found[2:] == [
        "p.jsonl, line 3: neither a JSON string nor a JSON object",
        "p.jsonl, line 4: prompt: '' is not a text with at least one visible character",
        "p.jsonl, line 5: key: 6 is not text",
        "p.jsonl, line 5: prompt: 5 is not a text with at least one visible character",
        "p.jsonl, line 6: n: '2' is not one of the numbers 1, 2, 4",
    ]


def test_a_client_business_id_is_for_one_item_only() -> None:
    line = '{"prompt": "a", "client_business_id": "mine"}\n'
    assert problems("p.jsonl", line * 2) == [
        "p.jsonl, line 2: client_business_id: 'mine' was used in line 1, each item needs its own"
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.txt", " \n\n", "p.txt: there is no prompt in it"),
        ("p.csv", "", "p.csv, line 1: no column is named 'prompt'; the first line holds nothing"),
        ("p.csv", "Prompt;n\na;1\n", "p.csv, line 1: no column is named 'prompt'; the first line holds 'Prompt;n'"),
        ("p.csv", "prompt\n", "p.csv: there is no prompt in it"),
        ("p.csv", "prompt,Prompt\na,b\n", "p.csv, line 1: there are several columns named 'prompt'"),
        ("p.txt", b"ok\nna\xefve\n", "p.txt, line 2: byte 0xef is not UTF-8: save the file as UTF-8"),
        ("p.md", "a fox", "p.md: --from takes a .txt, .csv, .tsv or .jsonl file, or - for standard input"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(name: str, content: str | bytes, said: str) -> None:
    assert problems(name, content) == [said]


def test_an_unclosed_quote_in_a_csv_file_is_told_and_does_not_swallow_the_rest() -> None:
    (only,) = problems("p.csv", 'prompt,n\na,1\n"b,2\nc,3\n')
    assert only.startswith("p.csv, line 4: not CSV: ")


def test_a_missing_file_and_a_folder_are_told() -> None:
    Path("folder.txt").mkdir()
    for name, reason in (("none.txt", "No such file"), ("folder.txt", "Is a directory")):
        found = read_input((), name)
        assert [problem.text.startswith(f"cannot be read: {reason}") for problem in found.problems] == [True]


def test_a_table_of_1632_prompts_is_read() -> None:
    rows = "".join(f'{n}\tThe words "{n}" are written\n' for n in range(1632))
    assert len(plan("p.tsv", "id\tprompt\n" + rows)) == 1632
