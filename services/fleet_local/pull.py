"""Gets every model's weights onto the disk, with a progress bar, before anything starts.

Called by `run`. Downloads run in threads that do not hold the process's end back.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from fleet_contract.spec import ModelSpec
from fleet_local.errors import StartError
from fleet_local.progress import Shown, drawing
from fleet_local.voice import Voice
from fleet_weights import fetch as weights
from fleet_weights.errors import WeightsError
from fleet_weights.store import Store

AT_ONCE = 3
STOP_SECONDS = 2.0
"""A fetch that was told to stop gets this long to end its downloads."""


async def pull(
    specs: Sequence[ModelSpec],
    store: Store,
    environ: Mapping[str, str],
    *,
    download: bool,
    voice: Voice,
) -> None:
    """Have complete weights of all `specs` in `store`. Raises StartError with the reason.

    Nothing is fetched when not `download`: what is missing is then an error.
    """
    try:
        missing = [spec for spec in specs if not weights.is_there(spec, store)]
        if missing and download:
            with drawing(voice) as shown:
                await Pull(store, environ, shown).run(missing)
        for spec in specs:
            weights.locate(spec, store)
    except WeightsError as error:
        raise StartError(error.message, error.hint) from error


class Pull:
    """Fetches several models side by side."""

    def __init__(self, store: Store, environ: Mapping[str, str], shown: Shown) -> None:
        self._store = store
        self._environ = environ
        self._shown = shown
        self._stop = threading.Event()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Future[None]] = set()

    async def run(self, specs: Sequence[ModelSpec]) -> None:
        """Fetch all. Raises the first WeightsError, after the other downloads were stopped."""
        try:
            async with asyncio.TaskGroup() as group:
                for spec in specs:
                    group.create_task(self._one(spec))
        except* WeightsError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._stop.set()
            if self._running:
                await asyncio.wait(self._running, timeout=STOP_SECONDS)

    async def _one(self, spec: ModelSpec) -> None:
        async with self._places:
            progress = self._shown.begin(spec.model)
            done = in_daemon_thread(
                partial(
                    weights.fetch, spec, self._store, progress,
                    environ=self._environ, stop=self._stop,
                )
            )  # fmt: skip
            self._running.add(done)
            done.add_done_callback(self._running.discard)
            await asyncio.shield(done)
            self._shown.end(spec.model)


def in_daemon_thread(work: Callable[[], object]) -> asyncio.Future[None]:
    """Settled when `work` ended; the thread never keeps the process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
            done.exception()  # whoever waited may be gone; that is no news then

    def run() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name="fetch", daemon=True).start()
    return done
