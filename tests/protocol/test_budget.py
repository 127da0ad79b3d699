"""What an answer says of the user's budget: documented headers, of which nothing is taken on trust."""

from __future__ import annotations

import pytest

from toapis_async._protocol.failures import spent_budget


def said(limit: object, remaining: object, category: str | None = "async_query") -> dict[str, str]:
    headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(remaining)}
    return headers if category is None else {**headers, "X-RateLimit-Category": category}


@pytest.mark.parametrize(("limit", "remaining"), [(500, 5), (500, 0), (3000, 30), (50, 0), (500, -1)])
def test_a_hundredth_is_nearly_nothing(limit: int, remaining: int) -> None:
    assert spent_budget(said(limit, remaining)) == "query"
    assert spent_budget(said(limit, remaining, "async_submit")) == "submit"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        said(500, 6),
        said(50, 1),
        said(0, 0),
        said(-5, -5),
        said("many", 0),
        said(500, ""),
        said(500, "nan"),
        said(500, 0, None),
        said(500, 0, "chat"),
        {"X-RateLimit-Category": "async_query", "X-RateLimit-Limit": "500"},
        {"X-RateLimit-Category": "async_query", "X-RateLimit-Remaining": "0"},
    ],
)
def test_everything_else_says_nothing(headers: dict[str, str]) -> None:
    assert spent_budget(headers) is None
