"""The image models the simulator knows: their documented limits, and made-up prices and durations."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from decimal import Decimal

from attrs import frozen

DurationSource = Callable[[random.Random], float]
"""Draws the duration of one task, in seconds, from the random numbers it is given."""


@frozen
class LogNormal:
    """A log-normal distribution of durations, the usual shape of image generation times."""

    median: float
    """Seconds within which half of the tasks finish."""
    sigma: float = 0.35
    """Standard deviation of the logarithm; at 0.35 two thirds lie within a factor 1.4 of the median."""

    def __call__(self, source: random.Random) -> float:
        """Return one duration, in seconds."""
        return self.median * math.exp(source.gauss(0.0, self.sigma))


@frozen(kw_only=True)
class Model:
    """What the service accepts for one model."""

    sizes: frozenset[str] | None
    """Allowed values of `size`; `None`: any."""
    counts: frozenset[int]
    """Allowed values of `n`."""
    references: int | None
    """How many reference images are allowed; `None`: any number."""
    prompt_limit: int | None = None
    """Longest prompt in characters; `None`: no documented limit."""
    first_status: str = "queued"
    """The status in the reply to the POST."""
    pixels_have_no_channel: bool = False
    """Whether a pixel size such as `1024x1024` is refused as "no available channel", as seen in the field."""
    reports_usage: bool = False
    """Whether token counts come with the settled bill."""
    price: Decimal = Decimal(4)
    """Credits per image. Made up, but of the right size: 200 credits are one US dollar."""
    duration: DurationSource = LogNormal(15.0)
    """How long a task takes. Made up from times reported in the field."""


def _ratios(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GROK_SIZES = _ratios("1:1 2:3 3:2 16:9 9:16")
_GPT_SIZES = _ratios("1:1 3:2 2:3 4:3 3:4 5:4 4:5 16:9 9:16 2:1 1:2 21:9 9:21")
_GPT25_SIZES = _ratios("1:1 3:2 2:3 4:3 3:4 5:4 4:5 16:9 9:16 21:9")
_GEMINI3_SIZES = _ratios("1:1 2:3 3:2 3:4 4:3 4:5 5:4 9:16 16:9 21:9")
_GEMINI31_SIZES = _GEMINI3_SIZES | _ratios("1:4 4:1 1:8 8:1")
_SEEDREAM_SIZES = _ratios("1:1 4:3 3:4 16:9 9:16 3:2 2:3 21:9 9:21 auto")
_ONE = frozenset({1})
_UP_TO_TEN = frozenset(range(1, 11))
_UP_TO_FIFTEEN = frozenset(range(1, 16))

_GROK = Model(sizes=_GROK_SIZES, counts=frozenset({1, 2, 4}), references=5, prompt_limit=1000)
_GPT25 = Model(
    sizes=_GPT25_SIZES,
    counts=_ONE,
    references=None,
    first_status="pending",
    pixels_have_no_channel=True,
    price=Decimal(3),
    duration=LogNormal(40.0, 0.4),
)
_GPT25_TOKENS = Model(
    sizes=None,
    counts=_ONE,
    references=None,
    first_status="pending",
    reports_usage=True,
    duration=LogNormal(60.0, 0.4),
)
_SEEDREAM = Model(sizes=_SEEDREAM_SIZES, counts=_UP_TO_FIFTEEN, references=10, duration=LogNormal(20.0))
_FLUX = Model(sizes=_ratios("1:1 4:3 3:4 16:9 9:16 3:2 2:3"), counts=_ONE, references=8)

MODELS: Mapping[str, Model] = {
    "grok-4-1-image": _GROK,
    "grok-4-2-image": _GROK,
    "grok-imagine-1.0": Model(sizes=_GROK_SIZES, counts=_UP_TO_TEN, references=0),
    "gpt-4o-image": Model(
        sizes=_ratios("1:1 2:3 3:2"),
        counts=frozenset({1, 2, 4}),
        references=5,
        prompt_limit=1000,
        duration=LogNormal(40.0, 0.4),
    ),
    "gpt-image-2": Model(
        sizes=_GPT_SIZES,
        counts=_ONE,
        references=6,
        prompt_limit=32_000,
        pixels_have_no_channel=True,
        duration=LogNormal(40.0, 0.4),
    ),
    "gpt-image-2-vip": Model(
        sizes=None, counts=_UP_TO_TEN, references=10, prompt_limit=32_000, duration=LogNormal(50.0, 0.4)
    ),
    "gpt-image-2-official": Model(
        sizes=None, counts=_UP_TO_TEN, references=16, reports_usage=True, duration=LogNormal(60.0, 0.4)
    ),
    "gpt-image-2.5-flare": _GPT25,
    "gpt-image-2.5-sunburst": _GPT25,
    "gpt-image-2.5-flare-vip": _GPT25_TOKENS,
    "gpt-image-2.5-flare-official": _GPT25_TOKENS,
    "gpt-image-2.5-sunburst-vip": _GPT25_TOKENS,
    "gpt-image-2.5-sunburst-official": _GPT25_TOKENS,
    "gemini-3-pro-image-preview": Model(sizes=_GEMINI3_SIZES, counts=_ONE, references=6, duration=LogNormal(30.0)),
    "gemini-3.1-flash-image-preview": Model(sizes=_GEMINI31_SIZES, counts=_ONE, references=6),
    "gemini-2.5-flash-image-preview": Model(
        sizes=_ratios("1:1 16:9 9:16 4:3 3:4 3:2 2:3"),
        counts=_ONE,
        references=14,
        prompt_limit=1000,
        duration=LogNormal(12.0),
    ),
    "doubao-seedream-4-0": Model(
        sizes=_SEEDREAM_SIZES,
        counts=_UP_TO_FIFTEEN,
        references=10,
        prompt_limit=1000,
        duration=LogNormal(20.0),
    ),
    "doubao-seedream-4-5": _SEEDREAM,
    "doubao-seedream-5-0": _SEEDREAM,
    "doubao-seedream-5-0-pro": Model(
        sizes=_SEEDREAM_SIZES | _ratios("1K 2K"), counts=_UP_TO_TEN, references=10, duration=LogNormal(25.0)
    ),
    "flux-2-flex": _FLUX,
    "flux-2-pro": _FLUX,
    "flux-kontext-pro": Model(sizes=None, counts=_ONE, references=1),
    "flux-kontext-max": Model(sizes=None, counts=_ONE, references=1),
    "qwen-image-3.0": Model(sizes=None, counts=_ONE, references=3, price=Decimal(6)),
    "qwen-image-3.0-pro": Model(sizes=None, counts=_ONE, references=3, price=Decimal(6)),
}
"""Model id to rules, after the documentation of ToAPIs (autumn 2026)."""
