"""The simulator: the service's state machine behind an HTTP server on loopback, and scripted faults."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from typing import TYPE_CHECKING, Self

import anyio

from .injection import Fault, FaultPlan
from .limits import GROUPS, Group, GroupLimits
from .records import RequestLog, RequestRecord
from .service import FAILURE_MESSAGE, ID_PREFIX, Durations, Kind, Service, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal
    from types import TracebackType

    from aiohttp import web

    from .exchange import Exchanger
    from .tasks import Charge, Task
    from .uploads import Upload

DEFAULT_KEY = "sk-simulated"
"""The API key a simulator accepts unless it is told others."""

_STOP_PATIENCE = 0.1
"""Seconds a handler gets to end by itself at shutdown. Only one whose client does not read needs them."""


class Simulator:
    """A simulated image service on 127.0.0.1, with a ledger of what was charged and faults on demand.

    Enter it once, in one of two ways: `async with` serves in the running event loop and takes all its time
    from that loop's clock (also from a `VirtualClockEventLoop`); `with` serves from a thread of its own, for
    synchronous code and for tests that do not care. Both leave no thread, task or socket behind, however busy
    the server was.

    `time_factor`: how many times faster the service is; durations, expiry and rate windows shrink by it.
    `limits`: the documented limits of a user group ("default", "vip", "svip"), a `GroupLimits`, or `None`.
    `seed`: of everything random; the same seed and the same requests give the same ids and durations.
    `api_keys`: the keys it accepts. All belong to one user.
    `durations`: how long tasks take, in seconds before the time factor: a number, a function of a random
    source such as `LogNormal(median)`, or either per model id. Default: log-normal, about 15 s for the Grok
    models.
    `credits`: the balance at the start; when it is used up, submits are refused with 402. `None`: unlimited.
    `id_prefix`: what task ids begin with; 23 characters follow. Real ids are opaque: try yours on odd ones.
    `port`: 0 takes a free one. `faults`: see `toapis_async.testing.faults`.
    `record_requests`: `False` keeps `requests` empty, for long runs.

    Raises `ValueError` for impossible arguments, and `OSError` on entering if the port is taken.
    """

    def __init__(
        self,
        *,
        time_factor: float = 1.0,
        limits: Group | GroupLimits | None = "default",
        seed: int = 0,
        api_keys: Iterable[str] = (DEFAULT_KEY,),
        durations: Durations | None = None,
        credits: Decimal | None = None,  # noqa: A002 - the word the service uses for its money
        id_prefix: str = ID_PREFIX,
        port: int = 0,
        faults: Iterable[Fault] = (),
        record_requests: bool = True,
    ) -> None:
        if not 0 < time_factor < float("inf"):
            raise ValueError("time_factor must be a positive number")
        keys = frozenset(api_keys)
        if not keys or isinstance(api_keys, str):
            raise ValueError("api_keys must hold at least one key")
        if isinstance(limits, str) and limits not in GROUPS:
            raise ValueError(f"limits must be one of {', '.join(GROUPS)}, a GroupLimits or None")
        settings = Settings(
            time_factor=time_factor,
            limits=GROUPS[limits] if isinstance(limits, str) else limits,
            seed=seed,
            api_keys=keys,
            durations=durations,
            credits=credits,
            id_prefix=id_prefix,
            unix_start=time.time(),
        )
        self._service = Service(settings=settings)
        self._plan = FaultPlan(seed)
        self._plan.add(faults)
        self._log = RequestLog(keep=record_requests)
        self._lock = threading.RLock()
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began = 0.0
        self._runner: web.ServerRunner | None = None
        self._exchanger: Exchanger | None = None
        self._thread: threading.Thread | None = None
        self._leave = asyncio.Event()

    # --- where it is ---

    @property
    def base_url(self) -> str:
        """The base URL to give to a client. Raises `RuntimeError` before the simulator was entered."""
        if not self._service.origin:
            raise RuntimeError("the simulator has not been entered: use `with` or `async with`")
        return f"{self._service.origin}/v1"

    @property
    def api_key(self) -> str:
        """A key it accepts."""
        return min(self._service.settings.api_keys)

    @property
    def now(self) -> float:
        """Seconds since it started, on the clock of `RequestRecord.at` and `Charge.at`."""
        return 0.0 if self._loop is None else self._loop.time() - self._began

    # --- what it has seen (from any thread) ---

    @property
    def charges(self) -> tuple[Charge, ...]:
        """The ledger: every accepted POST, in order. Refunds do not remove a charge."""
        with self._lock:
            return tuple(self._service.charges)

    @property
    def uploads(self) -> tuple[Upload, ...]:
        """Every reference picture that was taken, in order."""
        with self._lock:
            return tuple(self._service.uploads)

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request received, in order; those under way have no status yet."""
        return self._log.records

    @property
    def pending(self) -> tuple[str, ...]:
        """The ids of the tasks that have not finished."""
        with self._lock:
            return self._service.running(self.now)

    @property
    def balance(self) -> Decimal | None:
        """The credits left, refunds included; `None`: unlimited."""
        with self._lock:
            return self._service.balance(self.now)

    async def wait_for_requests(self, kind: Kind, count: int) -> None:
        """Return once `count` requests of a kind have been received since the start; usable from any event
        loop.

        A request counts when the service has processed it (a charge is then in the ledger), before its reply
        is sent; one that a fault keeps from being processed counts when the fault begins.
        """
        await self._log.wait(kind, count)

    # --- what you can do to it (from any thread) ---

    def add_fault(self, fault: Fault) -> None:
        """Script one more fault, behind those it has."""
        with self._lock:
            self._plan.add((fault,))

    def clear_faults(self) -> None:
        """Forget all scripted faults; those that already hit a request go on."""
        with self._lock:
            self._plan.clear()

    def complete(self, reference: str) -> None:
        """Complete a running task now, given its id or client_business_id.

        Raises `LookupError` for an unknown one, `ValueError` for one that has finished.
        """
        with self._lock:
            self._find(reference).end(self.now, None)

    def fail(self, reference: str, message: str = FAILURE_MESSAGE) -> None:
        """Let a running task fail now; raises as `complete` does."""
        with self._lock:
            self._find(reference).end(self.now, message)

    def expire(self, reference: str) -> None:
        """Let the result URLs of a completed task expire now; raises as `complete` does."""
        with self._lock:
            self._find(reference).expire(self.now)

    def renew_urls(self, reference: str) -> None:
        """Replace the result URLs of a task: status queries show new ones, the old ones answer 403 from now on.

        Raises `LookupError` for an unknown one.
        """
        with self._lock:
            self._find(reference).renewals += 1

    def _find(self, reference: str) -> Task:
        task = self._service.find(reference)
        if task is None:
            raise LookupError(f"no task {reference!r}")
        return task

    # --- in the running loop ---

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A test that is cancelled (a deadline, Ctrl-C) must not leave the server behind.
        with anyio.CancelScope(shield=True):
            await self._stop()

    async def _start(self) -> None:
        # Not at the top: importing aiohttp takes longer than everything else here, and pytest loads this
        # module.
        from aiohttp import web  # noqa: PLC0415

        from .exchange import Exchanger  # noqa: PLC0415

        if self._loop is not None:
            raise RuntimeError("a simulator can be entered only once")
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._exchanger = Exchanger(self._service, self._plan, self._log, self._lock, lambda: self.now)
        server = web.Server(self._exchanger.handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=_STOP_PATIENCE)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self._service.origin = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        assert self._exchanger is not None
        assert self._runner is not None
        server = self._runner.server
        assert server is not None
        transports = [connection.transport for connection in server.connections]
        self._exchanger.stop()
        await self._runner.cleanup()
        for transport in transports:
            if transport is not None:
                # A client that does not read would keep a transport with unsent bytes open.
                transport.abort()
        # Transports close their sockets one round of the loop after they are told to.
        for _ in range(2):
            await asyncio.sleep(0)

    # --- in a thread of its own ---

    def __enter__(self) -> Self:
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="toapis-simulator", daemon=True)
        self._thread.start()
        if (error := started.exception()) is not None:
            self._thread.join()
            raise error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join()

    def _run(self, started: concurrent.futures.Future[None]) -> None:
        with asyncio.Runner() as runner:
            try:
                runner.run(self._start())
            except BaseException as error:  # noqa: BLE001 - raised again by the waiting thread
                started.set_exception(error)
                return
            started.set_result(None)
            runner.run(self._serve())

    async def _serve(self) -> None:
        await self._leave.wait()
        await self._stop()
