"""What a batch is fed with: requests, keys, sources."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, TypeGuard, cast

import anyio

from .._files.names import short_digest
from ..errors import RequestValidationError
from ..models import ImageRequest
from .signals import Breather

_logger = logging.getLogger("toapis_async")

_CLOSE_SOURCE_SECONDS: Final = 5.0

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
    """The keys of one batch. One that was chosen costs 16 bytes and its place in a set, a running number nothing."""

    def __init__(self) -> None:
        self._used: set[bytes] = set()
        self._next_number = 0
        self._occurrences: dict[str, int] = {}  # only of what occurs more than once

    def check(self, key: Any) -> None:
        """Refuse a key that cannot be used; None stands for the running number and is fine.

        Raises:
            RequestValidationError: it is not text, or was used before.

        """
        if key is None:
            return
        if not isinstance(key, str):
            raise RequestValidationError([f"key: {key!r} is not text"])
        if not self.is_free(key):
            raise RequestValidationError([f"key: {key!r} was used before in this batch, each job needs its own"])

    def use(self, key: str) -> None:
        """Mark a key as used."""
        if key == str(self._next_number):
            self._next_number += 1
        else:
            self._used.add(short_digest(key))

    def is_free(self, key: Any) -> TypeGuard[str]:
        """Whether a key is text that was not used."""
        return isinstance(key, str) and not self._is_past_number(key) and short_digest(key) not in self._used

    def _is_past_number(self, key: str) -> bool:
        # No batch comes to numbers that long, and Python does not read them.
        return len(key) < 19 and key.isdecimal() and str(int(key)) == key and int(key) < self._next_number

    def next_free(self) -> str:
        """Return the running number as a key; numbers that somebody chose as a key are left out."""
        while not self.is_free(key := str(self._next_number)):
            self._next_number += 1
        return key

    def next_free_of(self, name: str) -> str:
        """Return `name` as a key, then `name-2` and so on: the occurrences of one request."""
        if self.is_free(name):
            return name
        while not self.is_free(key := f"{name}-{self._occurrences.setdefault(name, 2)}"):
            self._occurrences[name] += 1
        return key


async def close_source(iterator: AsyncIterator[Any] | None) -> None:
    """Let an async generator run its clean-up, in bounded time: nobody else holds it."""
    close = getattr(iterator, "aclose", None)
    if close is None:
        return
    with anyio.move_on_after(_CLOSE_SOURCE_SECONDS, shield=True):
        try:
            await close()
        except Exception:
            _logger.exception("A source of requests failed while it was closed")


class SyncSource:
    """Pulls from a plain iterable, giving way to other tasks in between."""

    def __init__(self, source: Iterable[Any], clock: Callable[[], float]) -> None:
        self._iterator = iter(source)
        self._breather = Breather(clock)

    def __aiter__(self) -> SyncSource:
        return self

    async def __anext__(self) -> Any:
        await self._breather.breathe()
        try:
            return next(self._iterator)
        except StopIteration:
            raise StopAsyncIteration from None
