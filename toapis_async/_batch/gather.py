"""All outcomes of a batch in input order."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any

from .._submission import Submission
from ..errors import ToapisError
from ..models import ImageRequest
from ..outcomes import Failed, Outcome
from .batch import Batch
from .items import RequestItem, RequestSource, split_item


async def read_all(requests: RequestSource) -> list[RequestItem]:
    """Read a source to its end."""
    if isinstance(requests, AsyncIterable):
        return [item async for item in requests]
    return list(requests)


async def gather_outcomes(batch: Batch, items: list[RequestItem], taken: list[Submission]) -> list[Outcome]:
    """Iterate an entered batch that was made of `items`; `taken` gets the record of every outcome taken.

    An item that was not sent because the intake closed becomes `Failed` with the error that closed it.
    """
    outcomes: list[Outcome | None] = [None] * len(items)
    closed_by: ToapisError | None = None
    try:
        while True:
            job = await batch.next_job()
            outcomes[job.number] = job.outcome
            if job.submission is not None:
                taken.append(job.submission)
    except StopAsyncIteration:
        pass
    except ToapisError as error:
        closed_by = error
    return [outcome or _unsent(index, items[index], closed_by) for index, outcome in enumerate(outcomes)]


def _unsent(index: int, item: Any, error: ToapisError | None) -> Failed:
    key, request = split_item(item)
    assert error is not None  # an open intake leaves no item without an outcome
    return Failed(
        key=key if isinstance(key, str) else str(index),
        request=request if isinstance(request, ImageRequest) else None,
        task_id=None,
        client_business_id=None,
        error=error,
    )
