"""JSON values to typed ones. The only importer of cattrs.

Primitives are strict, so that a wrong type is noticed; an optional field that does not fit becomes None
instead of losing a task that was paid for, and `GenerationTask.raw` still holds what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

from cattrs import Converter
from cattrs.errors import BaseValidationError

from ..models import Billing, Usage

_MILLISECONDS_FROM: Final = 1e11  # seconds are documented; a larger number can only be milliseconds


def _is_optional(target: Any) -> bool:
    return get_origin(target) in {Union, UnionType} and NoneType in get_args(target)


def _read_str(value: Any, _: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value


def _read_int(value: Any, _: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError(f"expected a whole number, got {value!r}")
    return int(value)


def _read_decimal(value: Any, _: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"expected a decimal string, got {value!r}")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"expected a decimal string, got {value!r}") from None
    if not number.is_finite():
        raise ValueError(f"expected a finite amount, got {value!r}")
    return number


def _read_time(value: Any, _: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected seconds since 1970, got {value!r}")
    return datetime.fromtimestamp(value / 1000 if value > _MILLISECONDS_FROM else value, UTC)


def _with_extra(converter: Converter, cls: type[Any]) -> None:
    """Let `cls.extra` take the keys that `cls` does not know."""
    known = {attribute.name for attribute in cls.__attrs_attrs__} - {"extra"}
    plain = converter.get_structure_hook(cls)

    def structure(value: Any, target: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError(f"expected an object, got {type(value).__name__}")
        extra = {key: v for key, v in value.items() if key not in known}  # pyright: ignore[reportUnknownVariableType]
        return plain({**value, "extra": extra}, target)

    converter.register_structure_hook(cls, structure)


def _configure(converter: Converter) -> None:
    converter.register_structure_hook(str, _read_str)
    converter.register_structure_hook(int, _read_int)
    converter.register_structure_hook(Decimal, _read_decimal)
    converter.register_structure_hook(datetime, _read_time)
    converter.register_structure_hook_func(lambda t: t is Any or t == Mapping[str, Any], lambda value, _: value)

    def optional(target: Any) -> Callable[..., Any]:
        return _lenient(converter, next(arg for arg in get_args(target) if arg is not NoneType))

    converter.register_structure_hook_factory(_is_optional, optional)
    _with_extra(converter, Usage)


def _lenient(converter: Converter, kind: Any) -> Callable[..., Any]:
    structure = converter.get_structure_hook(kind)

    def read(value: Any, _: Any = None) -> Any:
        if value is None:
            return None
        try:
            return structure(value, kind)
        except (ValueError, TypeError, ArithmeticError, OSError, BaseValidationError):
            return None

    return read


_converter = Converter()
_configure(_converter)
OPTIONAL: Final = {
    name: _lenient(_converter, kind)
    for name, kind in {
        "model": str,
        "progress": int,
        "created_at": datetime,
        "completed_at": datetime,
        "expires_at": datetime,
        "billing": Billing,
        "usage": Usage,
    }.items()
}
"""How to read the fields of a task that are taken as they come. What does not fit is None."""
