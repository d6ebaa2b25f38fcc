"""A fleet of processes on this machine: one router and one server for each model.

Built by `command`: bring everything up or fail, keep it up, take it down.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleet_contract.spec import Engine, ModelSpec
from fleet_local import environment, ports, routes_file
from fleet_local.errors import StartError
from fleet_local.probe import Probe
from fleet_local.process import Lifeline
from fleet_local.service import Launch, Service
from fleet_local.settings import UpSettings
from fleet_local.sink import FileSink, Sink, TerminalSink
from fleet_local.table import Row, row
from fleet_local.voice import Voice

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
        voice: Voice,
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
        return [await self._row(spec) for spec in self._specs]

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
        return [self._router, *self._servers.values()]

    def _make_servers(self) -> dict[str, Service]:
        specs = [spec for spec in self._specs if spec.engine is not Engine.REMOTE]
        servers: dict[str, Service] = {}
        for spec in specs:
            environ = environment.of_server(spec, self._settings, self._environ, self._models)
            launch = Launch(spec.model, "fleet_server", ports.LOOPBACK, environ)
            port = ports.pick([server.port for server in servers.values()])
            servers[spec.model] = self._service(launch, routes_file.slug(spec.model), port)
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

    def _sink(self, slug: str) -> Sink:
        if self._settings.log_format == "text":
            return TerminalSink(slug.rpartition("--")[2], next(self._colours), self._voice.console)
        return FileSink(self._folder / f"{slug}.log")

    def _address(self, spec: ModelSpec) -> str:
        if spec.remote is not None:
            return spec.remote.address
        return self._servers[spec.model].base

    def _write_routes(self) -> None:
        routes_file.write(self._routes, [(spec, self._address(spec)) for spec in self._specs])

    async def _row(self, spec: ModelSpec) -> Row:
        server = self._servers.get(spec.model)
        address = self._address(spec)
        if server is None:
            return row(spec, [], address, None)
        return row(spec, await self._probe.models(address), address, server.seconds_to_ready)
