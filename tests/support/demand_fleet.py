"""A fleet under the supervisor of `modelfleet up`: router and processes are stand-ins."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fleet_contract.api.control import ControlReport, Order
from fleet_contract.api.load_report import ReportedLoad
from fleet_contract.spec import Engine, ModelSpec
from fleet_local.demand.member import Member
from fleet_local.demand.sizes import Sizes
from fleet_local.demand.supervisor import Actions, Supervisor
from fleet_prepare.choose import EngineChoice
from fleet_prepare.prepare import PreparedModel
from fleet_prepare.stage import PrepareStage

MIB = 1 << 20
SIZE = 100 * MIB
MIDNIGHT = 1767225600.0
"""The first of January 2026, in UTC."""


class Process:
    """A service that is ready after `seconds` of the fleet's clock, unless `failure` is set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.running = False
        self.starts = 0
        self.failure: Exception | None = None
        self.seconds = 0.0
        self.pass_time: Any = None
        self.in_flight = 0

    async def start(self) -> None:
        self.starts += 1
        if self.seconds:
            self.pass_time(self.seconds)
        if self.failure is not None:
            raise self.failure
        self.running = True

    async def keep(self) -> None:
        await asyncio.Event().wait()

    async def requests(self) -> int:
        return self.in_flight

    async def stop(self, grace: float) -> None:
        self.running = False


class Preparing:
    """Fetches when `release` is set."""

    def __init__(self, prepared: PreparedModel) -> None:
        self.prepared = prepared
        self.error: Exception | None = None
        self.release = asyncio.Event()

    async def prepare(self, spec: ModelSpec, report: Any) -> PreparedModel:
        report(PrepareStage.FETCHING, 42, 100)
        await self.release.wait()
        if self.error is not None:
            raise self.error
        return self.prepared

    def stop(self) -> None:
        pass


class Machine:
    """A fleet of one-server models under a supervisor, its clock, and its router's report."""

    def __init__(self, specs: list[ModelSpec], budget: int, folder: Path) -> None:
        self.now = 1000.0
        self.loads: dict[str, ReportedLoad] = {}
        self.version = self.confirmed = 1
        self.router_follows = True
        self.lines: list[str] = []
        self.orders: list[Order] = []
        self.console_orders: list[Order] = []
        """Those of the router, which removes them with each report."""
        self.measured: int | None = SIZE
        self.made: list[Process] = []
        """Servers that were added; with `failure` they do not start."""
        self.failure: Exception | None = None
        self.make_failure: Exception | None = None
        """Why no servers can be added."""
        (folder / "weights").mkdir()
        choice = EngineChoice(Engine.CUSTOM, "acme.Model", "cpu", "")
        self.prepared = PreparedModel(folder / "weights", choice)
        self.processes = {spec.model: Process(spec.model) for spec in specs}
        self.members = {
            spec.model: Member(
                spec, [self.processes[spec.model]],  # type: ignore[list-item]
                self.prepared, clock=lambda: self.now, wall=lambda: MIDNIGHT + self.now,
            )
            for spec in specs
        }  # fmt: skip
        for process in self.processes.values():
            process.pass_time = self._pass
        for member in self.members.values():
            member.size = SIZE
        self.preparing = Preparing(self.prepared)
        self.supervisor = Supervisor(
            self.members, specs, budget, 1.0,
            Actions(self._report, self._publish, self._measure, self.lines.append, self._orders,
                    self._make),
            Sizes(folder / "memory.json"), self.preparing,  # type: ignore[arg-type]
        )  # fmt: skip

    def _pass(self, seconds: float) -> None:
        self.now += seconds

    async def _report(self) -> ControlReport:
        if self.router_follows:
            self.confirmed = self.version
        orders, self.console_orders = self.console_orders, []
        return ControlReport(self.confirmed, dict(self.loads), orders)

    def _make(self, spec: ModelSpec, first: int, last: int) -> Any:
        if self.make_failure is not None:
            raise self.make_failure
        made = [Process(f"{spec.model} #{number}") for number in range(first, last + 1)]
        for each in made:
            each.failure = self.failure
        self.made += made
        return made

    def _orders(self) -> list[Order]:
        taken, self.orders = self.orders, []
        return taken

    def _publish(self) -> int:
        self.version += 1
        return self.version

    async def _measure(self, service: Any) -> int | None:
        return self.measured

    def states(self) -> dict[str, str]:
        return {name: member.state.value for name, member in self.members.items()}

    async def pass_time(self, seconds: float, **in_flight: int) -> None:
        """Models with requests in flight have them from now on."""
        self.now += seconds
        for name, load in self.loads.items():
            self.loads[name] = ReportedLoad(0, load.idle_seconds + seconds)
        for name, number in in_flight.items():
            self.loads[name] = ReportedLoad(number, 0.0)
        self.supervisor.act(await self._report())
        await self.settle()

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
