"""Scripted faults as values: which request, when, and what happens to it; and the plan that counts them off.

`toapis_async.testing.faults` has a named constructor for every common one.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Literal, TypedDict

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .replies import Reply
    from .service import Kind

When = Literal["before", "after"]
"""Before the service processes a request (a submit is not accepted), or after it has (a submit is accepted
and charged). "after" leaves submits alone that the service itself refuses."""


@frozen(kw_only=True)
class Subject:
    """The request a fault may be about, as far as the service knows it."""

    kind: Kind
    """What the request is."""
    method: str
    """HTTP method."""
    path: str
    """The path as sent, percent-encoded, with its query string."""
    reference: str | None = None
    """The id in the path of a query or the file name of a download, percent-decoded; the file name in the form of an
    upload."""
    looked_up_by: Literal["id", "client_business_id"] | None = None
    """Which of its two ids found the task of a query; `None` if there is none, and for other requests."""
    task_id: str | None = None
    """The task it is about, if there is one yet."""
    client_business_id: str | None = None
    """The caller's own id: of the task, or in the body of a submit."""
    model: str | None = None
    """The model of the task, or in the body of a submit."""
    prompt: str | None = None
    """The prompt of the task, or in the body of a submit."""
    age: float | None = None
    """Seconds since the task was accepted."""
    finished_for: float | None = None
    """Seconds since the task finished; `None` while it runs."""
    unix_time: float = 0.0
    """The clock of the service, in Unix seconds."""


@frozen
class Respond:
    """Send this reply, or the one computed from the request, instead of the service's. Ends the request."""

    reply: Reply | Callable[[Subject], Reply]


@frozen
class Drop:
    """Drop the connection without a byte of reply. Ends the request."""

    reset: bool = True
    """Reset it (RST), as a crashed or firewalled peer does; otherwise close it in the ordinary way (FIN)."""


@frozen
class Wait:
    """Pause this many seconds of the client's clock, whatever the time factor, then go on.

    The default waits for ever, which ends the request. A client that gives up meanwhile changes nothing: the
    service processes a request it has read.
    """

    seconds: float = math.inf

    def __attrs_post_init__(self) -> None:
        if not self.seconds >= 0:
            raise ValueError("a wait has zero or more seconds")


@frozen
class Transform:
    """Send what this function makes of the service's reply. Only possible after processing."""

    change: Callable[[Reply], Reply]


@frozen
class Reschedule:
    """Give the accepted task of a submit another end."""

    seconds: float | None = None
    """Seconds of the client's clock from acceptance to the end, whatever the time factor; `math.inf`: never;
    `None`: as drawn."""
    failure: str | None = None
    """The message it fails with; `None`: it ends as it would have."""

    def __attrs_post_init__(self) -> None:
        if self.seconds is not None and not self.seconds >= 0:
            raise ValueError("a task lasts zero or more seconds")


Action = Respond | Drop | Wait | Transform | Reschedule


@frozen(kw_only=True)
class Fault:
    """One scripted fault. The faults of a simulator are asked in the order in which they were added.

    A reply, a drop and an endless wait end a request: later faults neither see nor count it. The other
    actions add up. A function given to a fault runs in the simulator's thread; what it raises is logged by
    aiohttp and answered with a bare 500.
    """

    action: Action
    """What happens."""
    when: When
    """Before or after the service processes the request."""
    kind: Kind | None = None
    """Which kind of request; `None`: any."""
    match: str | Callable[[Subject], bool] | None = None
    """Only requests about this task id, this client_business_id, this file name or a prompt that contains
    this text; or those the function says `True` to."""
    nth: int = 1
    """The first matching request that is hit, counted from 1."""
    times: int | None = 1
    """How many matching requests are hit, from the nth on; `None`: all."""
    probability: float = 1.0
    """Chance that a request is hit which would be; drawn from the simulator's seed. Misses do not use up
    `times`."""

    def __attrs_post_init__(self) -> None:
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise ValueError("nth and times count from 1")
        if not 0 < self.probability <= 1:
            raise ValueError("probability must be above 0 and at most 1")
        if isinstance(self.action, Transform | Reschedule) and self.when != "after":
            raise ValueError(f"{type(self.action).__name__} is only possible after processing")
        if isinstance(self.action, Reschedule) and self.kind != "submit":
            raise ValueError("Reschedule is for submits")

    @property
    def ends_request(self) -> bool:
        """Whether nothing more happens to a request after this."""
        return isinstance(self.action, Respond | Drop) or self.action == Wait(math.inf)

    def concerns(self, subject: Subject) -> bool:
        """Return whether this fault is about such a request, without counting it."""
        if self.kind is not None and self.kind != subject.kind:
            return False
        if self.match is None:
            return True
        if callable(self.match):
            return self.match(subject)
        names = (subject.task_id, subject.client_business_id, subject.reference)
        return self.match in names or self.match in (subject.prompt or "")


class Where(TypedDict, total=False):
    """Which requests a fault hits, as keyword arguments; meaning and defaults are those of `Fault`."""

    match: str | Callable[[Subject], bool] | None
    nth: int
    times: int | None
    probability: float


class WhereAny(Where, total=False):
    """The same, for faults that may hit any kind of request."""

    kind: Kind | None


@define
class _Armed:
    """A fault and how often it has been met."""

    fault: Fault
    dice: random.Random
    met: int = 0
    hits: int = 0

    def strikes(self, subject: Subject) -> bool:
        """Count a request; return whether it is hit."""
        fault = self.fault
        if not fault.concerns(subject):
            return False
        self.met += 1
        if self.met < fault.nth or self.hits == fault.times:
            return False
        if fault.probability < 1 and self.dice.random() >= fault.probability:
            return False
        self.hits += 1
        return True


@define
class FaultPlan:
    """The faults of a simulator, in order, with their counts. Not safe for threads by itself."""

    seed: int
    _armed: list[_Armed] = field(init=False, factory=list[_Armed])
    _added: int = field(init=False, default=0)

    def add(self, faults: Iterable[Fault]) -> None:
        """Add faults behind the others. The same value may be added twice; each copy counts for itself."""
        for fault in faults:
            dice = random.Random(f"{self.seed}/{self._added}")
            self._added += 1
            self._armed.append(_Armed(fault, dice))

    def clear(self) -> None:
        """Forget all faults."""
        self._armed.clear()

    def __bool__(self) -> bool:
        return bool(self._armed)

    def drops_unread(self, kind: Kind) -> bool:
        """Whether the choice before processing such a request is only whether to drop it, whatever its body."""
        faults = [armed.fault for armed in self._armed if armed.fault.when == "before"]
        faults = [fault for fault in faults if fault.kind in {kind, None}]
        return bool(faults) and all(isinstance(fault.action, Drop) and fault.match is None for fault in faults)

    def choose(self, when: When, subject: Subject) -> tuple[Fault, ...]:
        """Count the request and return the faults that hit it, in order."""
        chosen: list[Fault] = []
        for armed in self._armed:
            if armed.fault.when == when and armed.strikes(subject):
                chosen.append(armed.fault)
                if armed.fault.ends_request:
                    break
        return tuple(chosen)
