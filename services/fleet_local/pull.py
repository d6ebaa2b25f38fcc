"""Fetches and converts the weights of all models before the first server starts.

A model that this machine cannot serve is refused before anything is fetched. The work runs in
daemon threads, which do not delay the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from fleet_contract.spec import ModelSpec
from fleet_local.errors import StartError
from fleet_local.output.console import Console
from fleet_local.output.progress import ProgressDisplay, progress_display
from fleet_prepare.choose import EngineChoice
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.preflight import preflight
from fleet_prepare.prepare import find, prepare
from fleet_weights.errors import WeightsError
from fleet_weights.store import Store

T = TypeVar("T")

AT_ONCE = 3
STOP_SECONDS = 2.0
"""Time to end running downloads after a failure or a signal."""


async def pull(
    specs: Sequence[ModelSpec],
    store: Store,
    environ: Mapping[str, str],
    *,
    download: bool,
    console: Console,
    machine: Machine,
) -> None:
    """Put weights of all `specs` into `store` in a format that an engine of this machine reads.

    Every model is checked before the first is fetched. Without `download` missing weights are an
    error. Raises StartError.
    """
    try:
        missing = [spec for spec in specs if find(spec, store, machine) is None]
        if not missing:
            return
        with progress_display(console) as display:
            await Pull(store, environ, display, machine, download=download).run(missing)
    except (CannotServe, WeightsError) as error:
        raise StartError(error.message, error.hint) from error


class Pull:
    """Fetches and converts the weights of several models, `AT_ONCE` at a time."""

    def __init__(
        self,
        store: Store,
        environ: Mapping[str, str],
        display: ProgressDisplay,
        machine: Machine,
        *,
        download: bool,
    ) -> None:
        self._store = store
        self._environ = environ
        self._display = display
        self._machine = machine
        self._download = download
        self._stop = threading.Event()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, specs: Sequence[ModelSpec]) -> None:
        """Prepare all. Raises the first CannotServe or WeightsError, once the rest has stopped."""
        try:
            decided = await self._all(self._decide, specs) if self._download else []
            choices = decided or [None] * len(specs)
            await self._all(self._one, list(zip(specs, choices, strict=True)))
        finally:
            self._stop.set()
            if self._running:
                await asyncio.wait(self._running, timeout=STOP_SECONDS)

    async def _all(self, work: Callable[[Any], Awaitable[T]], items: Sequence[Any]) -> list[T]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._placed(work, item)) for item in items]
        except* (CannotServe, WeightsError) as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _placed(self, work: Callable[[Any], Awaitable[T]], item: Any) -> T:
        async with self._places:
            return await work(item)

    async def _decide(self, spec: ModelSpec) -> EngineChoice | None:
        return await self._in_thread(
            partial(
                preflight, spec, self._store, self._machine, self._environ, stop=self._stop
            )
        )  # fmt: skip

    async def _one(self, item: tuple[ModelSpec, EngineChoice | None]) -> None:
        spec, choice = item
        await self._in_thread(
            partial(
                prepare, spec, self._store, self._machine, self._display.begin(spec.model),
                environ=self._environ, stop=self._stop, download=self._download, decided=choice,
            )
        )  # fmt: skip
        self._display.end(spec.model)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        done = in_daemon_thread(work)
        self._running.add(done)
        done.add_done_callback(self._running.discard)
        # A thread cannot be cancelled: `run` sets `_stop` and waits for it.
        return await asyncio.shield(done)


def in_daemon_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """The result of `work`, run in a daemon thread that never keeps the process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(set_outcome: Callable[[], None]) -> None:
        set_outcome()
        done.exception()  # retrieved once: asyncio logs exceptions that nothing retrieves

    def run() -> None:
        try:
            result = work()
        except Exception as error:
            settled = partial(done.set_exception, error)
        else:
            settled = partial(done.set_result, result)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, settled)

    threading.Thread(target=run, name="fetch", daemon=True).start()
    return done
