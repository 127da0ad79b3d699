"""From drafts to checked requests: either all of them are valid, or every problem is reported and none is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, TypeAlias

from attrs import frozen

from toapis_async import ImageRequest, RequestValidationError

from .._files.references import check_request
from .exits import UsageError
from .inputs import Draft, Input, Problem, image_of

Item: TypeAlias = tuple[str | None, ImageRequest]


@frozen
class Plan:
    """What is to be generated."""

    items: list[Item]
    """Requests, with the keys that the user gave to some of them; these differ."""

    def numbered(self) -> list[tuple[str, ImageRequest]]:
        """Return the requests with a key for each: its own, or the next free number, from 0."""
        taken = {key for key, _ in self.items}
        numbers = (key for number in count() if (key := str(number)) not in taken)
        return [(next(numbers) if key is None else key, request) for key, request in self.items]


def make_plan(found: Input, defaults: Mapping[str, Any]) -> Plan:
    """Check everything.

    `defaults` are fields for items that do not set their own.

    Raises:
        UsageError: with every problem of the whole input.

    """
    problems = [*found.problems, *_repeated(found.drafts, "key"), *_repeated(found.drafts, "client_business_id")]
    items: list[Item] = []
    for draft in found.drafts:
        fields = {**defaults, **draft.fields}
        key = fields.pop("key", None)
        if key is not None and not isinstance(key, str):
            problems.append(Problem(draft.place, f"key: {key!r} is not text"))
        if isinstance(fields.get("images"), list):
            fields["images"] = [image_of(image) for image in fields["images"]]
        request = ImageRequest(**fields)
        try:
            items.append((key, check_request(request).request))
        except RequestValidationError as error:
            problems += [Problem(draft.place, text) for text in error.problems]
    if problems:
        raise UsageError(_grouped(problems))
    return Plan(items)


def _repeated(drafts: Iterable[Draft], name: str) -> Iterator[Problem]:
    first: dict[str, Draft] = {}
    for draft in drafts:
        value = draft.fields.get(name)
        if not isinstance(value, str):
            continue
        before = first.setdefault(value, draft)
        if before is not draft:
            where = f"{before.place.unit} {before.place.number}"
            yield Problem(draft.place, f"{name}: {value!r} was used in {where}, each item needs its own")


def _grouped(problems: Iterable[Problem]) -> Iterator[str]:
    """Put together what is the same in many lines, in the order of first appearance."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for problem in problems:
        place = problem.place
        numbers = groups.setdefault((place.source, place.unit, problem.text), [])
        if place.number is not None:
            numbers.append(place.number)
    for (source, unit, text), numbers in groups.items():
        plural = "s" if len(numbers) > 1 else ""
        where = f", {unit}{plural} {_ranges(numbers)}" if numbers else ""
        yield f"{source}{where}: {text}"


def _ranges(numbers: list[int]) -> str:
    """Write `1, 2, 3, 7` as `1-3, 7`."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
