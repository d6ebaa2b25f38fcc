"""Starts a server: the web app first, then weights, model, warm-up and golden checks.

Probes respond from the start. If the model cannot be loaded, the process ends with status 3 and the
reason as its last log line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from fleet_contract import launch as contract
from fleet_contract.cpus import available_cpus
from fleet_contract.names import BUCKET_KEYS, HUB_TOKENS, REGISTRY_LOGINS
from fleet_contract.server_protocol import (
    LOAD_FAILED_EVENT,
    LOAD_FAILED_STATUS,
    SETTING_IGNORED_EVENT,
    ServerPhase,
    StartStage,
)
from fleet_prepare.errors import CannotServe
from fleet_prepare.prepare import PreparedModel
from fleet_prepare.stage import PrepareStage
from fleet_server import memory
from fleet_server.app import create_app
from fleet_server.load_error import LoadError
from fleet_server.settings import ServerSettings
from fleet_server.stages import Transfer
from fleet_server.startup import golden, signal_handlers, warmup
from fleet_server.startup.erase_variable import erase
from fleet_server.startup.head_start import HeadStart
from fleet_server.startup.idle_memory import IdleMemory
from fleet_server.startup.load import LoadedModel, load
from fleet_server.startup.runtime_config import runtime_config, without_effect
from fleet_server.startup.weights import WeightsStage
from fleet_server.state import ServerState
from fleet_web import serve
from fleet_web.exposure import is_loopback
from fleet_web.logs import event
from fleet_web.tracing import load as load_tracing
from fleet_weights.errors import WeightsError
from fleet_weights.store import Store

logger = logging.getLogger(__name__)

WORKERS = 4
"""Most threads of one caller for blocking work of requests, such as tokenising. More than the cores
only make the event loop wait longer for the interpreter lock."""


def run(
    host: str, port: int, environ: Mapping[str, str], head_start: HeadStart | None = None
) -> int:
    """Serve until a signal; the process's exit status. Raises ValueError on a bad setting."""
    settings = ServerSettings.read(environ)
    tracing = load_tracing(environ, "modelfleet-server")
    state, launcher = _parts(settings, environ, head_start)
    app = create_app(
        state, lifespan=launcher.lifespan, with_metrics=settings.enable_metrics,
        loopback=is_loopback(host), tracing=tracing,
    )  # fmt: skip
    server = serve.build(
        app, host, port,
        drain_timeout=settings.drain_timeout,
        read_timeout=settings.read_timeout,
        read_rate=settings.read_rate,
        body_timeout=settings.body_timeout,
        keep_alive=settings.keep_alive_seconds,
        on_drain=state.drain,
    )  # fmt: skip
    launcher.stop_server = lambda: setattr(server, "should_exit", True)
    server.run()
    if tracing is not None:
        tracing.close()
    return _status(state, launcher)


def prepare(environ: Mapping[str, str]) -> int:
    """Bring the model up once, without a web app; returns the process's exit status.

    Engines write their caches next to the weights, for servers with read-only access. Raises
    ValueError on a bad setting.
    """
    state, launcher = _parts(ServerSettings.read(environ), environ)
    asyncio.run(launcher.bring_up())
    if launcher.failure is None:
        state.close()
    return _status(state, launcher)


def _parts(
    settings: ServerSettings, environ: Mapping[str, str], head_start: HeadStart | None = None
) -> tuple[ServerState, Launcher]:
    spec = contract.decode(environ)
    for name, reason in without_effect(spec, environ).items():
        event(logger, SETTING_IGNORED_EVENT, level=logging.WARNING, setting=name, reason=reason)
    workers = min(WORKERS, available_cpus())
    state = ServerState(spec, workers, settings.heartbeat_seconds)
    weights = WeightsStage(spec, Store.of(environ), environ, head_start)
    # Only the download may use them: from here on no other code of the process can leak them.
    for name in (*HUB_TOKENS, REGISTRY_LOGINS):
        erase(name)
    if (spec.source or "").startswith("s3://"):  # else they may be for a handler
        for name in BUCKET_KEYS:
            erase(name)
    return state, Launcher(state, settings.threads, weights, head_start)


def _status(state: ServerState, launcher: Launcher) -> int:
    """0, or the end of the process where the model could not be brought up."""
    if launcher.failure is not None:
        event(
            logger, LOAD_FAILED_EVENT, level=logging.ERROR,
            model=state.spec.model, stage=launcher.failed_stage, message=launcher.failure,
        )  # fmt: skip
        # os._exit, since native threads of a partly loaded engine would block a normal exit.
        logging.shutdown()
        os._exit(LOAD_FAILED_STATUS)
    return 0


class Launcher:
    """Loads the model in the background while the web app runs."""

    def __init__(
        self,
        state: ServerState,
        threads: int,
        weights: WeightsStage,
        head_start: HeadStart | None = None,
    ) -> None:
        self._state = state
        self._head_start = head_start
        self._threads = threads
        self._weights = weights
        self._folder = Path()
        self.failure: str | None = None
        self.failed_stage = ""
        self.stop_server: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(self._serve())
        try:
            yield
        finally:
            task.cancel()
            await self._weights.stop()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._state.close()

    async def _serve(self) -> None:
        await self.bring_up()
        if self.failure is None:
            await asyncio.to_thread(memory.freeze_objects)
            await IdleMemory(self._state, self._folder).keep()

    async def bring_up(self) -> None:
        """Weights, model, warm-up, golden checks; a failure is reported and ends the server."""
        state, spec, stages = self._state, self._state.spec, self._state.stages
        stages.record(StartStage.START, process_age())
        stages.begin(StartStage.FETCH)
        try:
            prepared = await self._weights.run(self._preparing)
            self._folder = prepared.folder
            stages.begin(StartStage.LOAD)
            state.phase = ServerPhase.LOADING
            loaded = await asyncio.to_thread(self._load, prepared)
            if threading.current_thread() is threading.main_thread():
                signal_handlers.restore()
            stages.begin(StartStage.WARM)
            state.phase = ServerPhase.WARMING
            await asyncio.to_thread(warmup.warm, spec, loaded.model)
            if spec.golden:
                stages.begin(StartStage.GOLDEN)
                await asyncio.to_thread(golden.check, spec, loaded.model)
        except CannotServe as error:
            # The weights may be fine: no engine here reads them, so it is the load that failed.
            stages.begin(StartStage.LOAD)
            self._fail(str(error))
        except (LoadError, WeightsError) as error:
            self._fail(str(error))
        except MemoryError:
            self._fail(f"{spec.model} does not fit into memory. Use a smaller model or dtype.")
        except Exception as error:
            logger.exception("the model could not be brought up")
            self._fail(f"{spec.model} could not be brought up: {error}")
        else:
            stages.end()
            stages.record("import", loaded.import_seconds)
            stages.record("total", process_age())
            state.set_ready(loaded.model)
            self._report(loaded)

    def _load(self, prepared: PreparedModel) -> LoadedModel:
        self._state.choice = prepared.choice
        folder = prepared.folder
        if self._head_start is not None and (loaded := self._head_start.take(folder)) is not None:
            return loaded
        return load(
            self._state.spec, folder, self._threads, prepared.choice, prepared.adapters,
            prepared.draft,
        )  # fmt: skip

    def _preparing(self, stage: PrepareStage, transfer: Transfer) -> None:
        self._state.transfer = transfer
        if stage is PrepareStage.CONVERTING:
            self._state.stages.begin(StartStage.CONVERT)
            self._state.phase = ServerPhase.CONVERTING
        else:
            self._state.phase = ServerPhase.FETCHING

    def _report(self, loaded: LoadedModel) -> None:
        seconds = self._state.stages.seconds()
        for stage, spent in seconds.items():
            self._state.metrics.load_seconds(stage, spent)
        spec, choice = self._state.spec, loaded.choice
        event(
            logger, "runtime_config",
            **runtime_config(spec, loaded.model, choice, self._threads),
        )  # fmt: skip
        event(
            logger, "ready", model=self._state.spec.model, engine=loaded.choice.engine.value,
            device=loaded.choice.device,
            seconds={stage: round(spent, 2) for stage, spent in seconds.items()},
        )  # fmt: skip

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self.failed_stage = self._state.stages.running
        self._state.fail()
        self.stop_server()


def process_age() -> float:
    """Seconds since the start of this process; without /proc, its CPU time."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return uptime - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.process_time()
