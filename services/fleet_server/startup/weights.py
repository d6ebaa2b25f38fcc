"""The first stage of a server's start: weights on disk in a format that an engine reads.

They are downloaded if allowed and converted if necessary, in a daemon thread that ends soon after
`stop`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fleet_contract.settings import parse_bool
from fleet_contract.spec import ModelSpec
from fleet_prepare import machine
from fleet_prepare.prepare import PreparedModel, find, prepare
from fleet_prepare.stage import PrepareStage
from fleet_server.stages import Transfer
from fleet_server.startup.head_start import HeadStart
from fleet_web.logs import event
from fleet_weights.store import Store

logger = logging.getLogger(__name__)

LOG_SECONDS = 10.0
STOP_SECONDS = 5.0
NAMES = {PrepareStage.FETCHING: "weights_fetch", PrepareStage.CONVERTING: "weights_conversion"}
ENDED = {PrepareStage.FETCHING: "weights_fetched", PrepareStage.CONVERTING: "weights_converted"}

OnStage = Callable[[PrepareStage, Transfer], None]
"""Called from the working thread when a stage begins, with the progress of its bytes."""


class WeightsStage:
    """`environ` is the process's: AUTO_DOWNLOAD_MODELS, HF_TOKEN, HF_ENDPOINT, proxies."""

    def __init__(
        self,
        spec: ModelSpec,
        store: Store,
        environ: Mapping[str, str],
        head_start: HeadStart | None = None,
    ) -> None:
        self._head_start = head_start
        self._spec = spec
        self._store = store
        self._environ = dict(environ)
        self._machine = machine.here(environ)
        self._may_download = download_allowed(environ)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    async def run(self, on_stage: OnStage) -> PreparedModel:
        """The weights and the engine that reads them. Raises CannotServe and WeightsError."""
        found = await asyncio.to_thread(self._find)
        return found if found is not None else await self._in_thread(on_stage)

    def _find(self) -> PreparedModel | None:
        # The head start has searched the store already, unless it failed or was not possible.
        found = self._head_start.prepared() if self._head_start is not None else None
        return found or find(self._spec, self._store, self._machine)

    async def stop(self) -> None:
        """End a running download, which keeps its files, or a running conversion."""
        self._stop.set()
        if self._thread is not None:
            # Bounded: a daemon thread that is blocked ends with the process.
            await asyncio.to_thread(self._thread.join, STOP_SECONDS)

    def _in_thread(self, on_stage: OnStage) -> asyncio.Future[PreparedModel]:
        loop = asyncio.get_running_loop()
        result: asyncio.Future[PreparedModel] = loop.create_future()

        def work() -> None:
            try:
                prepared = self._prepare(on_stage)
            except Exception as error:
                _resolve(loop, result, lambda error=error: result.set_exception(error))  # type: ignore[misc]
            else:
                _resolve(loop, result, lambda: result.set_result(prepared))

        self._thread = threading.Thread(target=work, name="weights", daemon=True)
        self._thread.start()
        return result

    def _prepare(self, on_stage: OnStage) -> PreparedModel:
        steps = _Steps(self._spec, on_stage)
        prepared = prepare(
            self._spec, self._store, self._machine, steps.report,
            environ=self._environ, stop=self._stop, download=self._may_download,
        )  # fmt: skip
        steps.end(prepared.folder)
        return prepared


class _Steps:
    """Logs the stages and their progress."""

    def __init__(self, spec: ModelSpec, on_stage: OnStage) -> None:
        self._spec = spec
        self._on_stage = on_stage
        self._stage: PrepareStage | None = None
        self._transfer = Transfer()
        self._began = self._logged_at = 0.0

    def report(self, stage: PrepareStage, done: int, total: int | None) -> None:
        """Bytes done in a stage, which begins with its first report."""
        if stage is not self._stage:
            self._begin(stage)
        self._transfer.update(done, total)
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = time.monotonic()
            event(logger, NAMES[stage], model=self._spec.model, **self._transfer.body())

    def end(self, folder: Path | None = None) -> None:
        """Log the end of the running stage; `folder` holds the weights after the last stage."""
        if self._stage is None:
            return
        where: dict[str, Any] = {} if folder is None else {"path": str(folder)}
        event(
            logger, ENDED[self._stage], model=self._spec.model, bytes=self._transfer.done,
            seconds=round(time.monotonic() - self._began, 1), **where,
        )  # fmt: skip
        self._stage = None

    def _begin(self, stage: PrepareStage) -> None:
        self.end()
        self._stage, self._transfer = stage, Transfer()
        self._began = self._logged_at = time.monotonic()
        event(logger, f"{NAMES[stage]}_started", model=self._spec.model, source=self._spec.source)
        self._on_stage(stage, self._transfer)


def download_allowed(environ: Mapping[str, str]) -> bool:
    """AUTO_DOWNLOAD_MODELS. Raises ValueError that names it."""
    raw = environ.get("AUTO_DOWNLOAD_MODELS", "").strip() or "1"
    try:
        return parse_bool(raw)
    except ValueError as error:
        raise ValueError(f"AUTO_DOWNLOAD_MODELS={raw!r}: {error}") from error


def _resolve(
    loop: asyncio.AbstractEventLoop,
    result: asyncio.Future[PreparedModel],
    resolve: Callable[[], None],
) -> None:
    """Call `resolve` on the loop, unless the server is stopping."""

    def unless_cancelled() -> None:
        if not result.done():
            resolve()

    try:
        loop.call_soon_threadsafe(unless_cancelled)
    except RuntimeError:  # the loop is closed
        logger.debug("the server stopped while weights were fetched")
