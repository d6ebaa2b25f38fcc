"""The first stage of a server's start: weights on disk, downloaded where that is allowed.

Called by the launcher. The download runs in a thread of its own that does not hold the process
back, and ends soon after `stop`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fleet_contract.settings import parse_bool
from fleet_contract.spec import ModelSpec
from fleet_server.startup import Transfer
from fleet_web.logs import event
from fleet_weights.fetch import fetch, is_there, locate
from fleet_weights.store import Store

logger = logging.getLogger(__name__)

LOG_SECONDS = 10.0
STOP_SECONDS = 5.0


class WeightsStage:
    """`environ` is the process's: AUTO_DOWNLOAD_MODELS, HF_TOKEN, HF_ENDPOINT, proxies."""

    def __init__(self, spec: ModelSpec, store: Store, environ: Mapping[str, str]) -> None:
        self._spec = spec
        self._store = store
        self._environ = dict(environ)
        self._may_download = download_allowed(environ)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._logged_at = 0.0
        self.transfer: Transfer | None = None

    async def run(self, on_fetch: Callable[[Transfer], None]) -> Path:
        """The weights. Raises WeightsError; `on_fetch` is called if they must be downloaded."""
        there = await asyncio.to_thread(is_there, self._spec, self._store)
        if there or not self._may_download:
            return await asyncio.to_thread(locate, self._spec, self._store)
        self.transfer = Transfer()
        on_fetch(self.transfer)
        return await self._in_thread()

    async def stop(self) -> None:
        """End a running download; what it has is kept."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOP_SECONDS)

    def _in_thread(self) -> asyncio.Future[Path]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Path] = loop.create_future()

        def work() -> None:
            try:
                path = self._fetch()
            except Exception as error:
                _tell(loop, answer, lambda error=error: answer.set_exception(error))  # type: ignore[misc]
            else:
                _tell(loop, answer, lambda: answer.set_result(path))

        self._thread = threading.Thread(target=work, name="weights", daemon=True)
        self._thread.start()
        return answer

    def _fetch(self) -> Path:
        started = self._logged_at = time.monotonic()
        event(logger, "weights_fetch_started", model=self._spec.model, source=self._spec.source)
        path = fetch(
            self._spec, self._store, self._progress, environ=self._environ, stop=self._stop
        )
        assert self.transfer is not None  # noqa: S101  (set before the thread was started)
        event(
            logger, "weights_fetched", model=self._spec.model, path=str(path),
            bytes=self.transfer.done, seconds=round(time.monotonic() - started, 1),
        )  # fmt: skip
        return path

    def _progress(self, done: int, total: int | None) -> None:
        assert self.transfer is not None  # noqa: S101  (set before the thread was started)
        self.transfer.update(done, total)
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = time.monotonic()
            event(logger, "weights_fetch", model=self._spec.model, **self.transfer.body())


def download_allowed(environ: Mapping[str, str]) -> bool:
    """AUTO_DOWNLOAD_MODELS. Raises ValueError that names it."""
    raw = environ.get("AUTO_DOWNLOAD_MODELS", "").strip() or "1"
    try:
        return parse_bool(raw)
    except ValueError as error:
        raise ValueError(f"AUTO_DOWNLOAD_MODELS={raw!r}: {error}") from error


def _tell(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Path], tell: Callable[[], None]
) -> None:
    """Nobody listens any more where the server is stopping."""

    def if_wanted() -> None:
        if not answer.done():
            tell()

    try:
        loop.call_soon_threadsafe(if_wanted)
    except RuntimeError:
        logger.debug("the server stopped while weights were fetched")
