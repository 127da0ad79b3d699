"""Answers to a status query, as the service writes them."""

from __future__ import annotations

import json
from typing import Any

from toapis_async import TaskStatus
from toapis_async._protocol.endpoints import Seen, interpret_query
from toapis_async._protocol.messages import HttpResponse


def shows(
    status: TaskStatus, *pictures: str, date: str | None = None, hint: float | None = None, **fields: Any
) -> Seen:
    """Make what an answer shows: its status, the URLs of its pictures, two headers, and further fields of the body."""
    body = {"id": "t", "status": status, "result": {"data": [{"url": url} for url in pictures]}, **fields}
    headers = {name: str(value) for name, value in (("Date", date), ("Retry-After", hint)) if value is not None}
    response = HttpResponse(status=200, headers=headers, body=json.dumps(body).encode())
    return interpret_query(response, asked_id="t")
