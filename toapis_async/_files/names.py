"""What pictures are called: a template, filled in with values that are safe on every file system.

The same task gets the same names in every run, so that a run that goes on finds its files.
"""

from __future__ import annotations

import unicodedata
from hashlib import blake2b
from string import Formatter
from typing import Final

from attrs import frozen

from ..models import GenerationTask, ImageRequest

FIELDS: Final = ("key", "index", "id", "ext", "model", "prompt", "date")
_ALLOWED: Final = f"the fields are {', '.join(f'{{{name}}}' for name in FIELDS)}, and {{ext}} is the end"
_FORBIDDEN: Final = frozenset('<>:"/\\|?*')
_RESERVED: Final = frozenset({
    "con", "prn", "aux", "nul", "conin$", "conout$",
    *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789\u00b9\u00b2\u00b3"),
})  # fmt: skip
_LONGEST_VALUE: Final = 80  # bytes
_LONGEST_SLUG: Final = 60
_LONGEST_STEM: Final = 160  # names have 255 bytes at most, and paths are short on Windows


@frozen
class Naming:
    """The names of one task's pictures, without their extensions."""

    stems: tuple[str, ...]
    tag: str
    """Stands for the task. Added to a stem under which another task's picture lies already."""

    def tagged(self, stem: str) -> str:
        """Return the second name of a picture."""
        return f"{stem}-{self.tag}"


class Template:
    """The pattern of the names, such as `{key}-{index}{ext}`."""

    def __init__(self, text: str) -> None:
        """Read a pattern.

        Raises:
            ValueError: it is none; the text says what is wrong and what is allowed.

        """
        self._parts = _parse(text)
        names = {name for _, name in self._parts}
        self._has_index = "index" in names
        self.has_id = "id" in names
        self.has_key = "key" in names

    def names(
        self,
        task: GenerationTask,
        *,
        key: str | None = None,
        request: ImageRequest | None = None,
        clashes: bool = False,
    ) -> Naming:
        """Return the names for a task's pictures; `clashes` sets the key apart from one that looks alike.

        Without `{index}` the pictures of one task are numbered, if there are several. A prompt that is not
        known is replaced by the id.
        """
        model = task.model or (request.model if request else None)
        moment = task.completed_at or task.created_at
        values = {
            "key": safe(task.id if key is None else key, distinct=clashes),
            "id": safe(task.id),
            "model": safe(model or "unknown"),
            "prompt": (slug(request.prompt) if request else "") or safe(task.id),
            "date": f"{moment:%Y-%m-%d}" if moment else "undated",
        }
        count = len(task.images)
        return Naming(tuple(self._fill(values, index, count) for index in range(count)), tag_of(task.id))

    def _fill(self, values: dict[str, str], index: int, count: int) -> str:
        stem = "".join(literal + {**values, "index": str(index), "": ""}[name] for literal, name in self._parts)
        if count > 1 and not self._has_index:
            stem = f"{stem}-{index}"
        if stem.startswith(".") or _is_reserved(stem):
            stem = f"_{stem}"
        short = _cut(stem, _LONGEST_STEM)
        return stem if short == stem else f"{short}-{tag_of(stem)}"


def safe(text: str, *, distinct: bool = False) -> str:
    """Make a part of a file name of any text: one for each text, and the text itself where that will do.

    With `distinct` it differs from that of every other text also where a file system does not tell upper from
    lower case.
    """
    normal = unicodedata.normalize("NFC", text)
    plain = "".join(character if _is_plain(character) else "_" for character in normal).lstrip(".")
    plain = _cut(f"_{plain}" if _is_reserved(plain) else plain, _LONGEST_VALUE)
    if plain and plain == text and not distinct:
        return plain
    return f"{plain}-{tag_of(text)}" if plain else tag_of(text)


def slug(prompt: object) -> str:
    """Return the first words of a prompt, in lower case, with hyphens between them."""
    normal = unicodedata.normalize("NFC", str(prompt)).lower()
    words = "".join(c if _is_plain(c) and c not in "._-" else " " for c in normal).split()
    while len(words) > 1 and len("-".join(words).encode()) > _LONGEST_SLUG:
        words.pop()
    return _cut("-".join(words), _LONGEST_SLUG)


def folded(name: str) -> str:
    """Return the same text for names that some file system takes for the same."""
    return unicodedata.normalize("NFKC", name).casefold()


def _parse(text: str) -> list[tuple[str, str]]:
    def refuse(problem: str) -> ValueError:
        return ValueError(f"name: {text!r} {problem}; {_ALLOWED}")

    try:
        found = list(Formatter().parse(text))
    except (ValueError, TypeError) as error:
        raise refuse(f"is no template: {error}") from None
    for literal, name, spec, conversion in found:
        if name is not None and name not in FIELDS:
            raise refuse(f"has the unknown field {{{name}}}")
        if spec or conversion:
            raise refuse(f"wants {{{name}}} in a form of its own, which there is not")
        for character in literal:
            if character in _FORBIDDEN or not character.isprintable():
                why = "names have no folders" if character in "/\\" else "it is not allowed in names everywhere"
                raise refuse(f"contains {character!r}: {why}")
    names = [name for _, name, _, _ in found]
    if names.count("ext") != 1 or names[-1] != "ext":
        raise refuse("does not end in {ext}, the extension that fits the content")
    parts = [(literal, "" if name in {None, "ext"} else str(name)) for literal, name, _, _ in found]
    if not any(literal or name for literal, name in parts):
        raise refuse("leaves nothing before {ext}")
    return parts


def _is_plain(character: str) -> bool:
    return character in "._-" or unicodedata.category(character)[0] in "LMN"


def _is_reserved(name: str) -> bool:
    """Whether Windows takes a name for a device, whatever its extension."""
    return name.partition(".")[0].rstrip().lower() in _RESERVED


def _cut(text: str, longest: int) -> str:
    return text.encode("utf-8", "replace")[:longest].decode("utf-8", "ignore")


def tag_of(text: str) -> str:
    """Return 12 hexadecimal digits that stand for a text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def short_digest(text: str) -> bytes:
    """Return 16 bytes that stand for an id or a key, of which a session may see millions."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
