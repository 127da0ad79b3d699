"""All outcomes of a batch in input order."""

from __future__ import annotations

from collections.abc import AsyncIterable
from itertools import zip_longest
from typing import Any

from ..errors import ToapisError
from ..models import ImageRequest
from ..outcomes import Failed, Outcome
from .batch import Batch
from .items import RequestItem, RequestSource, check_source, split_item
from .job import JobRecord


async def read_all(requests: RequestSource) -> list[RequestItem]:
    """Read a source to its end."""
    check_source(requests)
    if isinstance(requests, AsyncIterable):
        return [item async for item in requests]
    return list(requests)


async def gather_outcomes(batch: Batch, items: list[RequestItem], jobs: list[JobRecord]) -> list[Outcome]:
    """Iterate an entered batch that was made of `items` and puts every job it makes into `jobs`.

    An item that was not sent because the intake closed becomes `Failed` with the error that closed it.
    """
    closed_by: ToapisError | None = None
    try:
        async for _ in batch:
            pass
    except ToapisError as error:
        closed_by = error
    return [
        (job and job.outcome) or _unsent(item, job.key if job else str(index), closed_by)
        for index, (item, job) in enumerate(zip_longest(items, jobs))
    ]


def _unsent(item: Any, number: str, error: ToapisError | None) -> Failed:
    key, request = split_item(item)
    assert error is not None  # an open intake leaves no item without an outcome
    return Failed(
        key=key if isinstance(key, str) else number,
        request=request if isinstance(request, ImageRequest) else None,
        task_id=None,
        client_business_id=None,
        error=error,
    )
