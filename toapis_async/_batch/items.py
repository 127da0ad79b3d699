"""What a batch is fed with: requests, keys, sources."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, TypeAlias, cast

from .._submission import short_digest
from ..errors import RequestValidationError
from ..models import ImageRequest

RequestItem: TypeAlias = ImageRequest | tuple[str, ImageRequest]
RequestSource: TypeAlias = Iterable[RequestItem] | AsyncIterable[RequestItem]


def check_source(source: Any) -> None:
    """Refuse what cannot be a source of requests.

    Raises:
        TypeError: it is not iterable, or it is one text, one request or a mapping.

    """
    if isinstance(source, Mapping):
        raise TypeError("requests: a mapping gives only its keys, pass its .items()")
    if isinstance(source, str | bytes | ImageRequest) or not isinstance(source, Iterable | AsyncIterable):
        raise TypeError(f"requests: expected an iterable or async iterable of requests, got {type(source).__name__}")


def split_item(item: Any) -> tuple[Any, Any]:
    """Take a `(key, request)` pair apart; the key is None for a request alone."""
    if isinstance(item, tuple) and len(cast(Any, item)) == 2:
        pair: tuple[Any, Any] = cast(Any, item)
        return pair
    return None, cast(Any, item)


class Keys:
    """The keys of one batch. Each costs 16 bytes and its place in a set, however long the batch runs."""

    def __init__(self) -> None:
        self._used: set[bytes] = set()
        self._next_number = 0

    def check(self, key: Any) -> None:
        """Refuse a key that cannot be used; None stands for the running number and is fine.

        Raises:
            RequestValidationError: it is not text, or was used before.

        """
        if key is None:
            return
        if not isinstance(key, str):
            raise RequestValidationError([f"key: {key!r} is not text"])
        if short_digest(key) in self._used:
            raise RequestValidationError([f"key: {key!r} was used before in this batch, each job needs its own"])

    def use(self, key: str) -> None:
        """Mark a key as used."""
        self._used.add(short_digest(key))

    def next_free(self) -> str:
        """Return the running number as a key; numbers that somebody chose as a key are left out."""
        while short_digest(str(self._next_number)) in self._used:
            self._next_number += 1
        self._next_number += 1
        return str(self._next_number - 1)
