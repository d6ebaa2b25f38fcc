"""The life of `modelfleet up`, from what was asked to the exit status. Called by `command`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from fleet_contract import catalog, launch
from fleet_contract.spec import ModelSpec
from fleet_local import cluster_fields, environment, pull, replicas, selection
from fleet_local.errors import StartError
from fleet_local.fleet import Fleet
from fleet_local.output import table
from fleet_local.output.console import Output
from fleet_local.processes import ports
from fleet_local.processes.stop_signals import StopSignals
from fleet_local.settings import UpSettings
from fleet_prepare import machine
from fleet_weights.store import Store

FAILED = 1
INSISTED = 130


async def run(settings: UpSettings, environ: Mapping[str, str], voice: Output) -> int:
    """Serve until a signal. The exit status: 0 when asked to stop, 1 when it could not start."""
    up = Up(settings, environ, voice)
    signals = StopSignals(insist=up.insist)
    signals.install()
    work = asyncio.create_task(up.work())
    asked = asyncio.create_task(signals.asked.wait())
    await asyncio.wait((work, asked), return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        voice.say("Stopping.")
        work.cancel()
    status = FAILED
    try:
        await work
    except asyncio.CancelledError:
        status = 0
    except StartError as error:
        voice.failure(error)
    finally:
        asked.cancel()
        await up.stop()
    return status


class Up:
    """Holds the fleet as soon as there is one, so that whatever happens can end it."""

    def __init__(self, settings: UpSettings, environ: Mapping[str, str], voice: Output) -> None:
        self._settings = settings
        self._environ = environ
        self._voice = voice
        self._fleet: Fleet | None = None

    async def work(self) -> None:
        """Select, check, pull, start, tell, keep. Raises StartError; otherwise runs for ever."""
        settings, voice = self._settings, self._voice
        specs = selection.select(settings)
        if settings.files and (notice := cluster_fields.notice(specs, catalog.load())):
            voice.say(notice)
        ports.require_free(settings.host, settings.port)
        store = Store.of(self._environ)
        await pull.pull(
            [self._as_served(spec, store) for spec in specs if replicas.number(spec)],
            store, self._environ, download=settings.download, voice=voice,
            machine=machine.here(self._environ),
        )  # fmt: skip
        fleet = self._build(specs, store)
        with voice.waiting(f"Starting {len(specs)} {'model' if len(specs) == 1 else 'models'}"):
            await fleet.start()
        rows = await fleet.rows()
        voice.say(table.render(rows, plain=not voice.is_terminal))
        voice.say(f"The fleet answers at {fleet.base}/v1; Ctrl-C stops it. Try:")
        voice.say(table.next_command(rows, fleet.base))
        await fleet.keep()

    def _as_served(self, spec: ModelSpec, store: Store) -> ModelSpec:
        """The spec with the settings its server will apply to it. Raises StartError."""
        try:
            return launch.decode(
                environment.of_server(spec, self._settings, self._environ, store.root)
            )
        except ValueError as error:
            raise StartError(f"{spec.model}: {error}") from error

    def _build(self, specs: Sequence[ModelSpec], store: Store) -> Fleet:
        try:
            self._fleet = Fleet(specs, self._settings, self._environ, store.root, self._voice)
        except OSError as error:
            raise StartError(
                f"Cannot write logs under {self._settings.run_root.resolve()}: {error.strerror}.",
                "Start it in a folder you may write to.",
            ) from error
        return self._fleet

    async def stop(self) -> None:
        """End every process."""
        if self._fleet is not None:
            await self._fleet.stop()

    def insist(self) -> None:
        """End every process and this one, now."""
        if self._fleet is not None:
            self._fleet.kill()
        os._exit(INSISTED)
