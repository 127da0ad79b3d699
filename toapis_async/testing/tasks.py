"""One image task as the service sees it, and the status body that describes it at a given moment."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from attrs import define, frozen

if TYPE_CHECKING:
    from .catalogue import Model
    from .submissions import Submission

RESULT_LIFETIME = 86_400.0
"""Seconds from completion to the expiry of the result URLs, documented by ToAPIs."""
SETTLING_TIME = 3.0
"""Seconds from completion until the bill is settled; seconds were seen in the field."""
_LONGEST_QUEUE = 1.0
_CREDITS_PER_USD = 200

Phase = Literal["queued", "in_progress", "completed", "failed"]


@frozen(kw_only=True)
class Charge:
    """One line of the ledger: an accepted POST."""

    task_id: str
    """The id the service gave to the task."""
    client_business_id: str | None
    """The caller's own id, if one was sent."""
    model: str
    """The model id of the request."""
    n: int
    """How many images were ordered."""
    prompt: str
    """The prompt of the request."""
    at: float
    """When it was accepted, in seconds since the simulator started."""
    credits: Decimal
    """What was taken from the balance; given back if the task fails."""


@define(kw_only=True, eq=False)
class Task:
    """An accepted task. Times are in seconds since the simulator started."""

    id: str
    order: Submission
    model: Model
    credits: Decimal
    accepted: float
    duration: float
    time_factor: float
    """How many times faster everything goes than in the real service."""
    lifetime: float
    """Seconds from completion to the expiry of the result URLs."""
    failure: str | None = None
    """What it fails with at its end; `None`: it completes."""
    renewals: int = 0
    """How often its result URLs were replaced; part of them, from the first time on."""

    @property
    def ends(self) -> float:
        """When it finishes."""
        return self.accepted + self.duration

    @property
    def expires(self) -> float:
        """When its result URLs stop working."""
        return self.ends + self.lifetime

    def phase(self, now: float) -> Phase:
        """Return its status at `now`."""
        if now >= self.ends:
            return "completed" if self.failure is None else "failed"
        queue = min(_LONGEST_QUEUE / self.time_factor, self.duration / 10)
        return "queued" if now < self.accepted + queue else "in_progress"

    def end(self, now: float, failure: str | None) -> None:
        """Finish now. Raises `ValueError` if the task has already finished."""
        if now >= self.ends:
            raise ValueError(f"task {self.id} has already finished")
        self.duration, self.failure = now - self.accepted, failure

    def expire(self, now: float) -> None:
        """Let the result URLs expire now. Raises `ValueError` if the task has not completed."""
        if self.phase(now) != "completed":
            raise ValueError(f"task {self.id} has not completed")
        self.lifetime = now - self.ends

    def file_query(self) -> str:
        """Return what follows the path of its result URLs."""
        return f"?v={self.renewals}" if self.renewals else ""

    def refunded(self, now: float) -> bool:
        """Return whether its charge has been given back."""
        return self.phase(now) == "failed"

    def created_body(self, unix_start: float) -> dict[str, object]:
        """Return the reply to the POST."""
        body = self._head(unix_start, self.model.first_status, 0)
        body["metadata"] = {}
        return body

    def status_body(self, now: float, unix_start: float, origin: str) -> dict[str, object]:
        """Return the reply to a status query at `now`; result URLs start with `origin`."""
        phase = self.phase(now)
        if phase == "completed":
            return self._completed_body(now, unix_start, origin)
        if phase == "failed":
            body = self._head(unix_start, "failed", 0)
            body["error"] = {"code": "generation_failed", "message": self.failure}
            body["billing"] = _bill("refunded", Decimal(0))
            return body
        # In the field the progress of an image stays at 10 until it jumps to 100.
        body = self._head(unix_start, phase, 10 if phase == "in_progress" else 0)
        body["billing"] = {"status": "pending"}
        return body

    def _head(self, unix_start: float, status: str, progress: int) -> dict[str, object]:
        body: dict[str, object] = {
            "id": self.id,
            "object": "generation.task",
            "model": self.order.model,
            "status": status,
            "progress": progress,
            "created_at": int(unix_start + self.accepted),
        }
        if self.order.client_business_id is not None:
            body["client_business_id"] = self.order.client_business_id
        return body

    def _completed_body(self, now: float, unix_start: float, origin: str) -> dict[str, object]:
        body = self._head(unix_start, "completed", 100)
        body["completed_at"] = int(unix_start + self.ends)
        body["expires_at"] = int(unix_start + self.ends) + int(self.lifetime)
        files = range(self.order.n) if now < self.expires else ()
        urls = [
            {"url": f"{origin}/files/generated/{quote(self.id, safe='')}-{i}.png{self.file_query()}"} for i in files
        ]
        body["result"] = {"type": "image", "data": urls}
        if now < self.ends + SETTLING_TIME / self.time_factor:
            body["billing"] = {"status": "pending"}
            return body
        body["billing"] = _bill("settled", self.credits)
        if self.model.reports_usage:
            body["usage"] = _usage(self.order)
        return body


def _bill(status: str, amount: Decimal) -> dict[str, str]:
    """Return a bill; money is a decimal string on the wire."""
    return {"status": status, "credits": f"{amount:f}", "cost_usd": f"{amount / _CREDITS_PER_USD:f}"}


def _usage(order: Submission) -> dict[str, object]:
    text, image = max(1, len(order.prompt) // 4), 300 * len(order.references)
    output = 1_056 * order.n
    return {
        "input_tokens": text + image,
        "output_tokens": output,
        "total_tokens": text + image + output,
        "input_tokens_details": {"text_tokens": text, "image_tokens": image, "cached_tokens": 0},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": output},
    }
