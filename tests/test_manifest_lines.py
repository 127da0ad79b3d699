"""Reading `manifest.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toapis_async._files.manifest import NAME, read_manifest


def test_the_last_line_of_a_key_counts_in_the_order_of_the_first(tmp_path: Path) -> None:
    lines = [{"key": "a", "n": 1}, {"key": "b", "n": 2}, {"key": "a", "n": 3}]
    (tmp_path / NAME).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    assert read_manifest(tmp_path) == [{"key": "a", "n": 3}, {"key": "b", "n": 2}]


@pytest.mark.parametrize(
    "broken",
    [
        b'{"key": "x", "prompt": "cut of',
        b"",
        b"\r",
        b'"key"',
        b'["key"]',
        b"{}",
        b'{"key": 1}',
        b'{"key": "x"} {"key": "y"}',
        b'{"key": "\xff"}',
        b'{"key": "x", "n": ' + b"9" * 5000 + b"}",
        b'{"key": "x", "n": ' + b"[" * 100_000 + b"}",
    ],
)
def test_a_line_that_is_no_object_with_a_key_is_skipped(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / NAME).write_bytes(b'{"key": "a"}\n' + broken + b'\n{"key": "b"}\r\n' + broken)
    assert read_manifest(tmp_path) == [{"key": "a"}, {"key": "b"}]


def test_a_line_separator_in_a_text_ends_no_line(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes('{"key": "a", "prompt": "one\u2028two\x85three"}\n'.encode())
    assert read_manifest(tmp_path) == [{"key": "a", "prompt": "one\u2028two\x85three"}]


def test_an_empty_manifest_has_no_entries_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path)
    (tmp_path / NAME).touch()
    assert read_manifest(tmp_path) == []
