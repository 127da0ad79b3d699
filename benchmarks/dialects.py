"""What a service says of a task, as each client wants to hear it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen


@frozen
class Dialect:
    """Templates of JSON texts, with the fields `id` and `now`, in seconds since 1970."""

    running: str
    completed: str
    created: str | None = None
    """The answer to a POST; `running` if None."""

    def accept(self, values: Mapping[str, object], *, done: bool) -> bytes:
        return ((self.completed if done else self.created or self.running) % values).encode()

    def show(self, values: Mapping[str, object], *, done: bool) -> bytes:
        return ((self.completed if done else self.running) % values).encode()


OURS: Final = Dialect(
    running='{"id":"%(id)s","object":"generation.task","model":"grok-4-1-image","status":"in_progress","progress":10,'
    '"created_at":%(now)d,"metadata":{}}',
    completed='{"id":"%(id)s","object":"generation.task","model":"grok-4-1-image","status":"completed","progress":100,'
    '"created_at":%(now)d,"completed_at":%(now)d,"expires_at":%(now)d,"metadata":{},'
    '"result":{"type":"image","data":[{"url":"https://files.invalid/generated/1.png"}]}}',
)

_OPENAI = (
    '{"id":"%%(id)s","object":"vector_store.file","status":"%s","created_at":%%(now)d,"usage_bytes":1,'
    '"vector_store_id":"vs","last_error":null}'
)
_REPLICATE = (
    '{"id":"%%(id)s","model":"a/b","version":"c","input":{"prompt":"a fox"},"logs":"","output":%s,"error":null,'
    '"status":"%s","created_at":"2026-01-01T00:00:00.000Z","started_at":"2026-01-01T00:00:01.000Z",'
    '"urls":{"get":"https://files.invalid/get","cancel":"https://files.invalid/cancel"}}'
)

DIALECTS: Final = {
    "v1": OURS,
    "openai": Dialect(running=_OPENAI % "in_progress", completed=_OPENAI % "completed"),
    "runwayml": Dialect(
        running='{"id":"%(id)s","status":"RUNNING","createdAt":"2026-01-01T00:00:00.000Z","progress":0.1}',
        completed='{"id":"%(id)s","status":"SUCCEEDED","createdAt":"2026-01-01T00:00:00.000Z",'
        '"output":["https://files.invalid/generated/1.png"]}',
        created='{"id":"%(id)s"}',
    ),
    "replicate": Dialect(
        running=_REPLICATE % ("null", "processing"),
        completed=_REPLICATE % ('["https://files.invalid/generated/1.png"]', "succeeded"),
    ),
    "fal": Dialect(
        running='{"request_id":"%(id)s","status":"IN_PROGRESS","logs":null}',
        completed='{"request_id":"%(id)s","status":"COMPLETED","logs":null,"metrics":{},'
        '"images":[{"url":"https://files.invalid/generated/1.png"}]}',
    ),
}
"""By the first part of the path; all others are asked as we are."""
