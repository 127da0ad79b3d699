"""What leaves a batch when its own workers fail."""

from __future__ import annotations

from typing import cast

from anyio import get_cancelled_exc_class


def simplest(errors: BaseExceptionGroup[BaseException], body_error: BaseException | None) -> BaseException:
    """Unwrap a lone error of the workers; keep the body's own error beside theirs."""
    found = _leaves(errors)
    if body_error is not None and not isinstance(body_error, get_cancelled_exc_class()):
        found.insert(0, body_error)
    return found[0] if len(found) == 1 else BaseExceptionGroup(errors.message, found)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _leaves(cast(BaseExceptionGroup[BaseException], error))
        else:
            found.append(error)
    return found
