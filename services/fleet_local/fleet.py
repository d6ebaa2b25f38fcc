"""A fleet of processes on this machine: one router and one or more servers for each model.

Built by `command`: bring everything up or fail, keep it up, take it down.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleet_contract.cpus import available_cpus
from fleet_contract.spec import ModelSpec
from fleet_local import environment, replicas, routes_file
from fleet_local.errors import StartError
from fleet_local.output.console import Output
from fleet_local.output.log_output import LogFile, LogOutput, LogTerminal
from fleet_local.output.table import STOPPED, Row, row
from fleet_local.processes import ports
from fleet_local.processes.probe import Probe
from fleet_local.processes.process import Lifeline
from fleet_local.processes.service import Launch, Service
from fleet_local.settings import UpSettings

ROUTER = "router"
COLOURS = ("cyan", "magenta", "green", "yellow", "blue")
KILL_AFTER = 2.0
"""Seconds beyond its drain time after which a process that was asked to end is killed."""


class Fleet:
    """`specs` are complete; their weights lie under `models`."""

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        settings: UpSettings,
        environ: Mapping[str, str],
        models: Path,
        voice: Output,
    ) -> None:
        self._specs = specs
        self._settings = settings
        self._environ = environ
        self._models = models
        self._voice = voice
        self._probe = Probe()
        self._lifeline = Lifeline()
        self._colours = itertools.cycle(COLOURS)
        self._folder = settings.run_root / str(settings.port)
        self._routes = self._folder / "routes.json"
        self._servers = self._make_servers()
        self._router = self._make_router()

    @property
    def base(self) -> str:
        """The address of the fleet."""
        return self._router.base

    async def start(self) -> None:
        """Start every process and wait until all are ready. Raises StartError at the first that
        is not; the caller then stops the rest."""
        self._write_routes()
        try:
            async with asyncio.TaskGroup() as group:
                for service in self._services:
                    group.create_task(service.start())
        except* StartError as errors:
            raise errors.exceptions[0] from None

    async def keep(self) -> None:
        """Keep every process up, for ever."""
        async with asyncio.TaskGroup() as group:
            for service in self._services:
                group.create_task(service.keep())

    async def rows(self) -> list[Row]:
        """What the table shows, as the servers say it now."""
        return [one for spec in self._specs for one in await self._rows(spec)]

    async def stop(self) -> None:
        """Let running requests finish, then end every process."""
        grace = environment.drain_seconds(self._settings) + KILL_AFTER
        await asyncio.gather(*(service.stop(grace) for service in self._services))
        await self._probe.close()
        self._lifeline.close()

    def kill(self) -> None:
        """End every process now."""
        for service in self._services:
            service.kill()

    @property
    def _services(self) -> list[Service]:
        return [self._router, *(server for each in self._servers.values() for server in each)]

    def _make_servers(self) -> dict[str, list[Service]]:
        visible = replicas.gpus(self._environ)
        taken: list[int] = []
        servers: dict[str, list[Service]] = {}
        for spec in self._specs:
            device = spec.device if self._settings.device == "auto" else self._settings.device
            shares = replicas.shares(
                replicas.number(spec), device, visible, available_cpus(), self._environ
            )
            servers[spec.model] = []
            for number, share in enumerate(shares, start=1):
                taken.append(ports.pick(taken))
                several = len(shares) > 1
                servers[spec.model].append(
                    self._service(
                        Launch(
                            f"{spec.model} #{number}" if several else spec.model,
                            "fleet_server", ports.LOOPBACK,
                            environment.of_server(
                                spec, self._settings, self._environ, self._models, share
                            ),
                        ),
                        routes_file.slug(spec.model) + (f"-{number}" if several else ""),
                        taken[-1],
                    )
                )  # fmt: skip
        return servers

    def _make_router(self) -> Service:
        launch = Launch(
            ROUTER, "fleet_router", self._settings.host,
            environment.of_router(self._settings, self._environ),
            ("--routes", str(self._routes.resolve())), self._settings.port,
        )  # fmt: skip
        return self._service(launch, ROUTER, self._settings.port)

    def _service(self, launch: Launch, slug: str, port: int) -> Service:
        return Service(
            launch, self._sink(slug), self._probe, self._lifeline, port,
            announce=self._voice.tell, moved=self._write_routes,
        )  # fmt: skip

    def _sink(self, slug: str) -> LogOutput:
        if self._settings.log_format == "text":
            return LogTerminal(slug.rpartition("--")[2], next(self._colours), self._voice.console)
        return LogFile(self._folder / f"{slug}.log")

    def _addresses(self, spec: ModelSpec) -> list[str]:
        if spec.remote is not None:
            return [spec.remote.address]
        return [server.base for server in self._servers[spec.model]]

    def _write_routes(self) -> None:
        routes_file.write(self._routes, [(spec, self._addresses(spec)) for spec in self._specs])

    async def _rows(self, spec: ModelSpec) -> list[Row]:
        if spec.remote is not None:
            return [row(spec, [], spec.remote.address, None)]
        if not self._servers[spec.model]:
            return [row(spec, [{"id": spec.model, "state": STOPPED}], "", None)]
        return [
            row(spec, await self._probe.models(server.base), server.base, server.seconds_to_ready)
            for server in self._servers[spec.model]
        ]
