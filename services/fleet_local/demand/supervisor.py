"""Starts and stops models by the requests that the router reports, within the budget of memory.

The router reports the load of every model several times a second, waiting requests included, as
routers report it to the operator on a cluster. A model stops in two steps: once the router has
confirmed routes without it, its servers are ended, or kept if a request came first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleet_contract.api.control import ControlReport, Order
from fleet_contract.spec import ModelSpec
from fleet_local.demand import budget as memory
from fleet_local.demand.decide import State, decide, room_for, seconds_to_room
from fleet_local.demand.member import Member
from fleet_local.demand.preparer import Preparer
from fleet_local.demand.progress import WeightsProgress
from fleet_local.demand.scaling import Make, Scaling, refusal
from fleet_local.demand.sizes import Sizes
from fleet_local.errors import StartError
from fleet_local.processes.service import Service
from fleet_prepare.errors import CannotServe
from fleet_weights.errors import WeightsError

POLL_SECONDS = 0.2
MEASURE_SECONDS = 5.0
CONFIRM_SECONDS = 5.0
"""A router that confirms no routes within this time may still send requests by the old ones."""


@dataclass(frozen=True, slots=True)
class Actions:
    """What the supervisor uses of the fleet.

    `report` reads the router's report, `publish` writes the routes if they changed and returns
    their version, `measure` reads the resident memory of a server in bytes, None if unknown,
    `orders` takes those of `modelfleet load`, `unload` and `scale`, `make` makes more servers of a
    model.
    """

    report: Callable[[], Awaitable[ControlReport | None]]
    publish: Callable[[], int]
    measure: Callable[[Service], Awaitable[int | None]]
    log: Callable[[str], None]
    orders: Callable[[], Iterable[Order]]
    make: Make


class Supervisor:
    """`budget` is in bytes, `grace` the seconds until a server that was requested to end is
    killed; `specs` are all models of the router, for their fallbacks."""

    def __init__(
        self,
        members: Mapping[str, Member],
        specs: Sequence[ModelSpec],
        budget: int,
        grace: float,
        actions: Actions,
        sizes: Sizes,
        preparer: Preparer | None,
    ) -> None:
        self._members = members
        self._budget = budget
        self._grace = grace
        self._actions = actions
        self._sizes = sizes
        self._preparer = preparer
        self._users = _users(specs)
        self._tasks: set[asyncio.Task[None]] = set()
        self._scaling = Scaling(
            actions.make, actions.publish, self._confirmed, self.resize, actions.log, grace
        )

    async def run(self) -> None:
        """Decide and act, until cancelled."""
        while True:
            report = await self._actions.report()
            if report is not None:
                self.act(report)
            await asyncio.sleep(POLL_SECONDS)

    async def measure(self) -> None:
        """Measure the servers every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            for member in self._members.values():
                if member.state is State.READY:
                    await self._measure(member)

    async def close(self) -> None:
        """End what is in progress; the servers are stopped by the fleet."""
        if self._preparer is not None:
            self._preparer.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def act(self, report: ControlReport) -> None:
        """Begin what a new report leads to."""
        for order in (*self._actions.orders(), *report.orders):
            self._carry_out(order)
        self._note(report)
        members = self._members
        candidates = [each.candidate() for each in members.values()]
        decision = decide(candidates, self._budget)
        for name in decision.too_big:
            room = room_for(members[name].candidate(), candidates, self._budget)
            members[name].fail(too_big(members[name].size, room, self._budget))
        for member in members.values():
            if member.is_wanted and member.prepared is None and member.weights is None:
                self._begin(self._prepare(member))
        for name in decision.waiting:
            members[name].waits_for_memory = True
            members[name].room_seconds = seconds_to_room(
                members[name].candidate(), candidates, self._budget
            )
        for name in decision.start:
            members[name].begin()
            self._begin(self._start(members[name]))
        for name in decision.stop:
            members[name].state = State.STOPPING
            self._begin(self._stop(members[name]))
        self._actions.publish()

    def _carry_out(self, order: Order) -> None:
        member = self._members.get(order.model)
        if member is None:
            return
        member.refuse("")
        if order.servers is None:
            member.load()
        elif order.servers == 0:
            member.unload()
        elif reason := refusal(member, order.servers, self._free()):
            member.refuse(reason)
        elif (work := self._scaling.begin(member, order.servers)) is not None:
            self._begin(work)

    def _free(self) -> int:
        """Bytes of the budget that no model takes."""
        taken = [each.size for each in self._members.values() if each.candidate().takes_memory]
        return self._budget - sum(taken)

    def _note(self, report: ControlReport) -> None:
        for name, member in self._members.items():
            users = [report.loads[user] for user in self._users[name] if user in report.loads]
            member.note(report.loads.get(name), users)

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        # The event loop holds tasks weakly: without a reference one may be collected unfinished.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _prepare(self, member: Member) -> None:
        if self._preparer is None:
            member.fail("its weights are not on disk")
            return
        member.weights = progress = WeightsProgress()
        try:
            member.prepared = await self._preparer.prepare(member.spec, progress.report)
        except (CannotServe, WeightsError) as error:
            self._failed(member, StartError(error.message, error.hint))
        except Exception as error:  # it would be tried again at once
            self._failed(member, _unexpected(error))
        else:
            self.resize(member)
        finally:
            member.weights = None

    def resize(self, member: Member) -> None:
        """Set the memory that a model with weights takes."""
        if member.prepared is not None:
            each = self._sizes.of(member.spec, member.prepared)
            member.size = each * len(member.processes)

    async def _start(self, member: Member) -> None:
        try:
            self._actions.publish()
            await member.start(lambda service, error: None)
        except StartError as error:
            await member.stop(self._grace)
            self._failed(member, error)
        except Exception as error:  # the model would keep its memory, and its requests would wait
            await member.stop(self._grace)
            self._failed(member, _unexpected(error))
        else:
            self._actions.publish()  # requests wait for it
            self._actions.log(f"{member.spec.model} is ready after {member.cold_seconds:.1f} s")
            await self._measure(member)
        self._actions.publish()

    def _failed(self, member: Member, error: StartError) -> None:
        member.fail_to_start(error.message)
        self._actions.log(f"{member.spec.model} failed to start: {error.message} {error.hint}")

    async def _stop(self, member: Member) -> None:
        try:
            is_unused = await self._confirmed(self._actions.publish()) and not member.in_flight
        except OSError as error:
            self._actions.log(f"{member.spec.model} is not stopped: {error}")
            is_unused = False
        if not is_unused:
            member.state = State.READY
        else:
            await member.stop(self._grace)
            self._actions.log(f"{member.spec.model} is stopped until a request comes")
        self._actions.publish()

    async def _confirmed(self, version: int) -> bool:
        """Whether the router sends requests by routes of `version` or later; its load is noted."""
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                while True:
                    report = await self._actions.report()
                    if report is not None:
                        # The router has removed its orders from its list by now.
                        for order in report.orders:
                            self._carry_out(order)
                        if report.routes >= version:
                            self._note(report)
                            return True
                    await asyncio.sleep(POLL_SECONDS / 4)
        except TimeoutError:
            return False

    async def _measure(self, member: Member) -> None:
        """A server that took more before will do so again: only its peak counts."""
        if member.prepared is None:
            return
        found = await asyncio.gather(*map(self._actions.measure, member.services))
        if known := [each for each in found if each is not None]:
            peak = max(*known, member.peak)
            member.peak = peak
            self._sizes.note(member.spec, member.prepared, peak)
            self.resize(member)


def too_big(size: int, room: int, budget: int) -> str:
    """Why a model of `size` bytes cannot start in `room` bytes of the budget."""
    needed, whole = f"needs about {memory.text(size)} of memory", memory.text(budget)
    if room >= budget:
        return f"{needed}, and {memory.SETTING} is {whole}"
    left = memory.text(max(room, 0))
    return f"{needed}; pinned models leave {left} of {memory.SETTING} ({whole})"


def _unexpected(error: Exception) -> StartError:
    """The error of a start that failed for another reason than those that are expected."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return StartError(f"{type(error).__name__}: {error}.")


def _users(specs: Iterable[ModelSpec]) -> dict[str, list[str]]:
    """For each model the models whose requests it serves while they have no server."""
    listed = list(specs)
    owner = {name: spec.model for spec in listed for name in spec.ids}
    users: dict[str, list[str]] = {spec.model: [] for spec in listed}
    for spec in listed:
        target = owner.get(spec.fallback or "")
        if target is not None and target != spec.model:
            users[target].append(spec.model)
    return users
