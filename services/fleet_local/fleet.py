"""A fleet of processes on this machine: one router and one or more servers for each model."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from fleet_contract.api.control import ControlReport
from fleet_contract.cpus import available_cpus
from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase
from fleet_local import environment, replicas, routes_file
from fleet_local.demand import orders
from fleet_local.demand import plan as plans
from fleet_local.demand.decide import State
from fleet_local.demand.member import Member
from fleet_local.demand.plan import Plan
from fleet_local.demand.sizes import Sizes
from fleet_local.demand.supervisor import Actions, Supervisor
from fleet_local.errors import StartError
from fleet_local.output.console import Console
from fleet_local.output.log_output import LogFile, LogOutput, LogTerminal
from fleet_local.output.table import FAILED, SCALED_TO_ZERO, STOPPED, ServerRow, row
from fleet_local.processes import ports
from fleet_local.processes.probe import Probe
from fleet_local.processes.process import Lifeline
from fleet_local.processes.server_events import ignored_settings
from fleet_local.processes.service import Launch, Service
from fleet_local.routes_file import RouteEntry, Start
from fleet_local.settings import UpSettings
from fleet_web.supervise import keep_running

ROUTER = "router"
COLOURS = ("cyan", "magenta", "green", "yellow", "blue")
KILL_AFTER = 2.0
"""Seconds after its drain time until a process that was requested to end is killed."""
HOLD_SECONDS = 300.0
"""How long requests wait for a model that starts on demand, as on a cluster: it may have to fetch
its weights first."""


class Fleet:
    """Start, keep and stop the processes that serve `specs`, whose weights are under `models`."""

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        settings: UpSettings,
        environ: Mapping[str, str],
        models: Path,
        console: Console,
        plan: Plan | None = None,
    ) -> None:
        """Raises StartError if a pinned model, or every model, is too big for the budget."""
        plan = plan or Plan()
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
        self._secret = secrets.token_hex(16)
        self._published: list[RouteEntry] = []
        self._version = 0
        self._is_running = False
        self.members: dict[str, Member] = {}
        self._make_members(plan)
        self._router = self._make_router()
        self._supervisor = Supervisor(
            self.members, specs, plan.budget, self._grace,
            Actions(self._control_report, self._publish, self._measure, console.log,
                    partial(orders.take, self._folder), self._make_servers),
            Sizes(self._folder / "memory.json"), plan.preparer,
        )  # fmt: skip
        for member in self.members.values():
            self._supervisor.resize(member)
        self._first = plans.first(
            list(self.members.values()), plan.budget, on_demand=settings.on_demand
        )

    @property
    def base(self) -> str:
        """The base address of the router."""
        return self._router.base

    @property
    def starting(self) -> int:
        """Number of models that `start` starts, and of remote ones."""
        return len(self._first) + sum(spec.remote is not None for spec in self._specs)

    async def start(self) -> None:
        """Start the router and the models that start at once, and wait until each is ready or has
        failed.

        A server that fails is reported, and retried for ever. Raises StartError where the router
        fails or nothing else is left to serve; the caller then stops the rest.
        """
        for member in self._first:
            member.begin()
        self._publish()
        left = sum(len(member.services) for member in self._first)
        left += sum(spec.remote is not None for spec in self._specs)
        others = [each for each in self.members.values() if each not in self._first]
        left += sum(not each.failure for each in others)

        def failed(server: Service, error: StartError) -> None:
            nonlocal left
            left -= 1
            if left:
                self._console.log(f"{server.name} failed to start: {error.message} {error.hint}")

        async def start_member(member: Member) -> None:
            try:
                await member.start(failed)
            except StartError:
                if not left:
                    raise
                member.keep()

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._router.start())
                for member in self._first:
                    group.create_task(start_member(member))
        except* StartError as errors:
            raise errors.exceptions[0] from None
        self._is_running = True

    async def keep(self) -> None:
        """Restart processes that end, and start and stop models on demand, for ever."""
        loops = {
            ROUTER: self._router.keep,
            "models": self._supervisor.run,
            "memory": self._supervisor.measure,
        }
        async with asyncio.TaskGroup() as group:
            for name, work in loops.items():
                group.create_task(keep_running(name, work, ended=self._supervision_ended))

    def _supervision_ended(self, name: str) -> None:
        self._console.log(f"The supervision of {name} failed and starts again.")

    async def rows(self) -> list[ServerRow]:
        """The rows of the table, from the servers' current `/v1/models`."""
        return [one for spec in self._specs for one in await self._rows(spec)]

    def refusals(self) -> dict[str, str]:
        """Models that cannot start, with the reasons."""
        return {name: each.failure for name, each in self.members.items() if each.failure}

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
        await self._supervisor.close()
        stops = [self._router.stop(self._grace)]
        stops += [member.stop(self._grace) for member in self.members.values()]
        await asyncio.gather(*stops)
        await self._probe.close()
        self._lifeline.close()

    def kill(self) -> None:
        """End every process now."""
        for service in self._services:
            service.kill()

    @property
    def _grace(self) -> float:
        return environment.drain_seconds(self._settings) + KILL_AFTER

    @property
    def _services(self) -> list[Service]:
        return [self._router, *self._servers]

    @property
    def _servers(self) -> list[Service]:
        return [one for each in self.members.values() for one in each.processes]

    def _make_members(self, plan: Plan) -> None:
        for spec in self._specs:
            if number := replicas.number(spec):
                self.members[spec.model] = Member(
                    plan.served.get(spec.model, spec), self._make_servers(spec, 1, number),
                    plan.prepared.get(spec.model), log=self._console.log,
                )  # fmt: skip

    def _make_servers(self, spec: ModelSpec, first: int, last: int) -> list[Service]:
        """The servers number `first` to `last` of a model, which has `last` then. Those that run
        already get their new share of the CPUs at their next start."""
        device = spec.device if self._settings.device == "auto" else self._settings.device
        shares = replicas.shares(
            last, device, replicas.gpus(self._environ), available_cpus(), self._environ,
            models=sum(replicas.number(each) > 0 for each in self._specs),
        )  # fmt: skip

        def environ(number: int) -> dict[str, str]:
            return environment.of_server(
                spec, self._settings, self._environ, self._models, shares[number - 1]
            )

        if (member := self.members.get(spec.model)) is not None:
            for number, service in enumerate(member.services[:last], 1):
                service.set_environ(environ(number))
        keys = routes_file.server_names(spec.model, last)
        taken = [server.port for server in self._servers]
        found = []
        for number in range(first, last + 1):
            taken.append(port := ports.pick(taken))
            title = f"{spec.model} #{number}" if last > 1 else spec.model
            launch = Launch(
                title, "fleet_server", ports.LOOPBACK, environ(number), key=keys[number - 1]
            )
            found.append(self._service(launch, launch.key, port))
        return found

    def _make_router(self) -> Service:
        launch = Launch(
            ROUTER, "fleet_router", self._settings.host,
            environment.of_router(self._settings, self._environ, self._secret),
            ("--routes", str(self._routes.resolve())), self._settings.port,
        )  # fmt: skip
        return self._service(launch, ROUTER, self._settings.port)

    def _service(self, launch: Launch, name: str, port: int) -> Service:
        return Service(
            launch, self._log_output(name), self._probe, self._lifeline, port,
            report=self._console.log, port_changed=self._publish_port,
        )  # fmt: skip

    def _log_output(self, name: str) -> LogOutput:
        if self._settings.log_format == "text":
            return LogTerminal(name.rpartition("--")[2], next(self._colours), self._console.rich)
        return LogFile(self._folder / f"{name}.log")

    async def _control_report(self) -> ControlReport | None:
        return await self._probe.control(self._router.base, self._secret)

    async def _measure(self, server: Service) -> int | None:
        listed = await self._probe.models(server.base)
        return next((each.get("memory_bytes") for each in listed if not each.get("parent")), None)

    def _publish_port(self) -> None:
        self._publish()

    def _publish(self) -> int:
        """Write the routes if they changed; their version."""
        entries = [self._entry(spec) for spec in self._specs]
        if entries != self._published:
            self._version += 1
            routes_file.write(self._routes, entries, self._version)
            self._published = entries
        return self._version

    def _entry(self, spec: ModelSpec) -> RouteEntry:
        member = self.members.get(spec.model)
        if member is None:
            address = spec.remote.address if spec.remote is not None else None
            names = routes_file.server_names(spec.model, 1)
            return RouteEntry(spec, dict.fromkeys(names, address) if address is not None else {})
        left = member.seconds_left
        start = Start(
            member.cold_seconds, member.progress, None if left is None else float(round(left))
        )
        if member.state in (State.SCALED_TO_ZERO, State.STOPPING):
            phase = Phase.FAILED if member.failure else Phase.SCALED_TO_ZERO
            return RouteEntry(self._held(spec), {}, phase, member.failure, start)
        if member.state is State.STARTING and self._is_running:
            # Not their servers: while the model slept, another process may have taken their ports.
            return RouteEntry(self._held(spec), {}, Phase.PROGRESSING, "", start)
        servers = {server.key: server.base for server in member.services}
        return RouteEntry(spec, servers, start=start)

    def _held(self, spec: ModelSpec) -> ModelSpec:
        """The spec of a model that requests wait for, with the time they wait."""
        if spec.routing.hold_seconds is not None or self._environ.get("HOLD_SECONDS", "").strip():
            return spec
        routing = spec.routing.model_copy(update={"hold_seconds": HOLD_SECONDS})
        return spec.model_copy(update={"routing": routing})

    async def _rows(self, spec: ModelSpec) -> list[ServerRow]:
        if spec.remote is not None:
            return [row(spec, [], spec.remote.address, None)]
        member = self.members.get(spec.model)
        if member is None:
            return [row(spec, [{"id": spec.model, "state": STOPPED}], "", None)]
        if member.state is State.SCALED_TO_ZERO:
            state = FAILED if member.failure else SCALED_TO_ZERO
            return [row(spec, [{"id": spec.model, "state": state}], "", None)]
        return [await self._row(spec, server) for server in member.services]

    async def _row(self, spec: ModelSpec, server: Service) -> ServerRow:
        if not server.is_ready:
            return row(spec, [{"id": spec.model, "state": FAILED}], server.base, None)
        listed = await self._probe.models(server.base)
        return row(spec, listed, server.base, server.seconds_to_ready)
