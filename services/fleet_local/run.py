"""Runs `modelfleet up` from its settings to the exit status."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence

from fleet_contract import catalog, launch
from fleet_contract.spec import ModelSpec
from fleet_local import cluster_fields, environment, pull, replicas, run_lock, selection
from fleet_local.demand import budget, orders
from fleet_local.demand.plan import Plan, on_disk, waits_for_requests
from fleet_local.demand.preparer import Preparer
from fleet_local.errors import StartError
from fleet_local.fleet import Fleet
from fleet_local.output import table
from fleet_local.output.console import Console
from fleet_local.processes import ports
from fleet_local.processes.stop_signals import StopSignals
from fleet_local.settings import UpSettings
from fleet_prepare import machine
from fleet_web import exposure
from fleet_weights.store import Store

FAILED = 1
FORCED = 130


async def run(settings: UpSettings, environ: Mapping[str, str], console: Console) -> int:
    """Serve until a signal; the exit status is 0 after a signal, 1 where the fleet cannot start."""
    up = Up(settings, environ, console)
    signals = StopSignals(force=up.force)
    signals.install()
    work = asyncio.create_task(up.work())
    stopping = asyncio.create_task(signals.stopping.wait())
    await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        console.print("Stopping.")
        work.cancel()
    status = FAILED
    try:
        await work
    except asyncio.CancelledError:
        status = 0
    except StartError as error:
        console.print_error(error)
    finally:
        stopping.cancel()
        await up.stop()
    return status


class Up:
    """One run. It holds the fleet from its creation on, so that `stop` can end it at any time."""

    def __init__(self, settings: UpSettings, environ: Mapping[str, str], console: Console) -> None:
        self._settings = settings
        self._environ = environ
        self._console = console
        self._fleet: Fleet | None = None
        self._exit = contextlib.ExitStack()

    async def work(self) -> None:
        """Select models, fetch weights, start the fleet and keep it running, for ever.

        Raises StartError.
        """
        settings, console = self._settings, self._console
        specs = selection.select(settings)
        if settings.files and (notice := cluster_fields.notice(specs, catalog.load())):
            console.print(notice)
        # Before anything is written: the files may be those of a fleet that runs.
        port = ports.reserve(settings.host, settings.port)
        self._exit.callback(port.release)
        self._exit.enter_context(run_lock.locked(settings.folder))
        orders.take(settings.folder)  # what was meant for an earlier fleet
        try:
            store = Store.of(self._environ)
        except ValueError as error:
            raise StartError(str(error)) from error
        limit = budget.of(self._environ)
        served = {
            spec.model: self._as_served(spec, store) for spec in specs if replicas.number(spec)
        }
        here = machine.here(self._environ)
        await pull.pull(
            [spec for spec in served.values()
             if not waits_for_requests(spec, on_demand=settings.on_demand)],
            store, self._environ, download=settings.download, console=console, machine=here,
        )  # fmt: skip
        preparer = Preparer(store, here, self._environ, download=settings.download)
        fleet = self._build(specs, store, Plan(limit, served, on_disk(served, preparer), preparer))
        port.release()
        number = fleet.starting
        with console.status(f"Starting {number} {'model' if number == 1 else 'models'}"):
            await fleet.start()
        for name, reason in fleet.ignored_settings().items():
            console.print(f"{name} is ignored: {reason}.")
        for name, reason in fleet.refusals().items():
            console.print(f"{name} cannot be served: it {reason}.")
        rows = await fleet.rows()
        console.print(table.render(rows, plain=not console.is_terminal))
        if warning := exposure.warning(settings.host, settings.port, has_keys=settings.has_keys):
            console.print(f"Warning: {warning}")
        console.print(f"The fleet is ready at {fleet.base}/v1; Ctrl-C stops it. Try:")
        console.print(table.next_command(rows, fleet.base))
        await fleet.keep()

    def _as_served(self, spec: ModelSpec, store: Store) -> ModelSpec:
        """The spec with the settings that its server applies to it. Raises StartError."""
        try:
            return launch.decode(
                environment.of_server(spec, self._settings, self._environ, store.root)
            )
        except ValueError as error:
            raise StartError(f"{spec.model}: {error}") from error

    def _build(self, specs: Sequence[ModelSpec], store: Store, plan: Plan) -> Fleet:
        try:
            self._fleet = Fleet(
                specs, self._settings, self._environ, store.root, self._console, plan
            )
        except OSError as error:
            raise StartError(
                f"Cannot write logs under {self._settings.run_root.resolve()}: {error.strerror}.",
                "Run `modelfleet up` in a folder that you can write to.",
            ) from error
        return self._fleet

    async def stop(self) -> None:
        """End every process."""
        if self._fleet is not None:
            await self._fleet.stop()
        self._exit.close()

    def force(self) -> None:
        """End every process and this one at once."""
        if self._fleet is not None:
            self._fleet.kill()
        os._exit(FORCED)
