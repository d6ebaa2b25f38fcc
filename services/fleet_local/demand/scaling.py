"""Changes the number of servers of a model while it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fleet_contract.spec import ModelSpec
from fleet_local.demand import budget as memory
from fleet_local.demand.decide import State
from fleet_local.demand.member import Member
from fleet_local.errors import StartError
from fleet_local.processes.service import Service

Make = Callable[[ModelSpec, int, int], list[Service]]
"""`make(spec, first, last)` are the servers with these numbers, from 1 on, that do not run yet."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """`publish` writes the routes and returns their version, `confirmed` waits until the router
    uses them, `resize` sets the memory that a model takes; `grace` as in Supervisor."""

    make: Make
    publish: Callable[[], int]
    confirmed: Callable[[int], Awaitable[bool]]
    resize: Callable[[Member], None]
    log: Callable[[str], None]
    grace: float

    async def run(self, member: Member, servers: int) -> None:
        """Give a model `servers` servers, at least one; `refusal` was "". Requests in flight at
        servers that end have `grace` seconds to finish."""
        if member.state is State.ASLEEP:
            del member.services[servers:]
            member.services += self.make(member.spec, len(member.services) + 1, servers)
            self.resize(member)
            member.load()
        elif servers < len(member.services):
            await self._shrink(member, servers)
        else:
            await self._grow(member, servers)
        self.publish()

    async def _shrink(self, member: Member, servers: int) -> None:
        member.leaving = member.services[servers:]
        del member.services[servers:]
        # A router that does not confirm loses at most requests that it can send elsewhere.
        await self.confirmed(self.publish())
        await asyncio.gather(*(member.end(service, self.grace) for service in member.leaving))
        member.leaving = []
        self.resize(member)
        self.log(_has(member))

    async def _grow(self, member: Member, servers: int) -> None:
        member.growing = self.make(member.spec, len(member.services) + 1, servers)
        self.resize(member)
        self.publish()
        try:
            while member.growing:
                service = member.growing[0]
                await service.start()
                if member.state is not State.READY:  # it was stopped meanwhile
                    break
                member.add(member.growing.pop(0))
                self.publish()
            self.log(_has(member))
        except Exception as error:  # nobody awaits this task
            reason = error.message if isinstance(error, StartError) else repr(error)
            member.refuse(reason.rstrip("."))
            self.log(f"{member.spec.model} is not scaled: {reason}")
        finally:
            rest, member.growing = member.growing, []
            for service in rest:
                await service.stop(self.grace)
            self.resize(member)


def _has(member: Member) -> str:
    number = len(member.services)
    return f"{member.spec.model} has {number} {'server' if number == 1 else 'servers'}"


def refusal(member: Member, servers: int, free: int) -> str:
    """Why a model cannot be given `servers` servers now, "" if it can; `free` is the memory that no
    model takes, in bytes."""
    spec = member.spec
    if servers < (least := spec.min_replicas or 1):
        return f"minReplicas is {least}"
    if spec.max_replicas is not None and servers > spec.max_replicas:
        return f"maxReplicas is {spec.max_replicas}"
    if member.growing or member.leaving or member.state in (State.STARTING, State.STOPPING):
        return "it is starting or stopping"
    more = (servers - len(member.services)) * member.size // max(1, len(member.services))
    if member.state is State.READY and more > free:
        return (
            f"it needs about {memory.text(more)} more of memory, and {memory.text(max(free, 0))} of"
            f" {memory.SETTING} is free: unload another model"
        )
    return ""
