"""A fleet of processes on this machine: one router and one or more servers for each model."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleet_contract.cpus import available_cpus
from fleet_contract.spec import ModelSpec
from fleet_local import environment, replicas, routes_file
from fleet_local.errors import StartError
from fleet_local.output.console import Console
from fleet_local.output.log_output import LogFile, LogOutput, LogTerminal
from fleet_local.output.table import FAILED, STOPPED, ServerRow, row
from fleet_local.processes import ports
from fleet_local.processes.probe import Probe
from fleet_local.processes.process import Lifeline
from fleet_local.processes.server_events import ignored_settings
from fleet_local.processes.service import Launch, Service
from fleet_local.settings import UpSettings
from fleet_web.supervise import keep_running

ROUTER = "router"
COLOURS = ("cyan", "magenta", "green", "yellow", "blue")
KILL_AFTER = 2.0
"""Seconds after its drain time until a process that was requested to end is killed."""


class Fleet:
    """Start, keep and stop the processes that serve `specs`, whose weights are under `models`."""

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        settings: UpSettings,
        environ: Mapping[str, str],
        models: Path,
        console: Console,
    ) -> None:
        self._specs = specs
        self._settings = settings
        self._environ = environ
        self._models = models
        self._console = console
        self._probe = Probe()
        self._lifeline = Lifeline()
        self._colours = itertools.cycle(COLOURS)
        self._folder = settings.folder
        self._routes = self._folder / "routes.json"
        self._servers = self._make_servers()
        self._router = self._make_router()

    @property
    def base(self) -> str:
        """The base address of the router."""
        return self._router.base

    async def start(self) -> None:
        """Start every process and wait until each is ready or has failed.

        A server that fails is reported, and `keep` retries it. Raises StartError where the router
        fails or nothing else is left to serve; the caller then stops the rest.
        """
        self._write_routes()
        servers = [server for each in self._servers.values() for server in each]
        left = len(servers) + sum(spec.remote is not None for spec in self._specs)

        async def start_server(server: Service) -> None:
            nonlocal left
            try:
                await server.start()
            except StartError as error:
                left -= 1
                if not left:
                    raise
                self._console.log(f"{server.name} failed to start: {error.message} {error.hint}")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._router.start())
                for server in servers:
                    group.create_task(start_server(server))
        except* StartError as errors:
            raise errors.exceptions[0] from None

    async def keep(self) -> None:
        """Restart processes that end, for ever."""
        async with asyncio.TaskGroup() as group:
            for service in self._services:
                group.create_task(
                    keep_running(service.name, service.keep, ended=self._supervision_ended)
                )

    def _supervision_ended(self, name: str) -> None:
        self._console.log(f"The supervision of {name} failed and starts again.")

    async def rows(self) -> list[ServerRow]:
        """The rows of the table, from the servers' current `/v1/models`."""
        return [one for spec in self._specs for one in await self._rows(spec)]

    def ignored_settings(self) -> dict[str, str]:
        """Settings that servers logged as without effect, with the reasons.

        Empty with `LOG_FORMAT=text`, where the terminal shows the log lines themselves.
        """
        found: dict[str, str] = {}
        for service in self._services:
            found |= ignored_settings(service.log.tail())
        return found

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
        models = sum(replicas.number(spec) > 0 for spec in self._specs)
        taken: list[int] = []
        servers: dict[str, list[Service]] = {}
        for spec in self._specs:
            device = spec.device if self._settings.device == "auto" else self._settings.device
            shares = replicas.shares(
                replicas.number(spec), device, visible, available_cpus(), self._environ,
                models=models,
            )  # fmt: skip
            names = routes_file.server_names(spec.model, len(shares))
            servers[spec.model] = []
            for number, (name, share) in enumerate(zip(names, shares, strict=True), start=1):
                taken.append(ports.pick(taken))
                environ = environment.of_server(
                    spec, self._settings, self._environ, self._models, share
                )
                title = f"{spec.model} #{number}" if len(shares) > 1 else spec.model
                launch = Launch(title, "fleet_server", ports.LOOPBACK, environ)
                servers[spec.model].append(self._service(launch, name, taken[-1]))
        return servers

    def _make_router(self) -> Service:
        launch = Launch(
            ROUTER, "fleet_router", self._settings.host,
            environment.of_router(self._settings, self._environ),
            ("--routes", str(self._routes.resolve())), self._settings.port,
        )  # fmt: skip
        return self._service(launch, ROUTER, self._settings.port)

    def _service(self, launch: Launch, name: str, port: int) -> Service:
        return Service(
            launch, self._log_output(name), self._probe, self._lifeline, port,
            report=self._console.log, port_changed=self._write_routes,
        )  # fmt: skip

    def _log_output(self, name: str) -> LogOutput:
        if self._settings.log_format == "text":
            return LogTerminal(name.rpartition("--")[2], next(self._colours), self._console.rich)
        return LogFile(self._folder / f"{name}.log")

    def _addresses(self, spec: ModelSpec) -> dict[str, str]:
        """Base addresses of a model's servers by their names."""
        if spec.remote is not None:
            return dict.fromkeys(routes_file.server_names(spec.model, 1), spec.remote.address)
        servers = self._servers[spec.model]
        names = routes_file.server_names(spec.model, len(servers))
        return {name: server.base for name, server in zip(names, servers, strict=True)}

    def _write_routes(self) -> None:
        routes_file.write(self._routes, [(spec, self._addresses(spec)) for spec in self._specs])

    async def _rows(self, spec: ModelSpec) -> list[ServerRow]:
        if spec.remote is not None:
            return [row(spec, [], spec.remote.address, None)]
        if not self._servers[spec.model]:
            return [row(spec, [{"id": spec.model, "state": STOPPED}], "", None)]
        return [await self._row(spec, server) for server in self._servers[spec.model]]

    async def _row(self, spec: ModelSpec, server: Service) -> ServerRow:
        if not server.is_ready:
            return row(spec, [{"id": spec.model, "state": FAILED}], server.base, None)
        listed = await self._probe.models(server.base)
        return row(spec, listed, server.base, server.seconds_to_ready)
