"""Changes the number of servers of a model while it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fleet_contract.spec import ModelSpec
from fleet_local.demand import budget as memory
from fleet_local.demand.decide import State
from fleet_local.demand.member import Member
from fleet_local.errors import StartError
from fleet_local.processes.service import Service

Make = Callable[[ModelSpec, int, int], list[Service]]
"""`make(spec, first, last)` are the servers with these numbers, from 1 on, that do not run yet."""
POLL_SECONDS = 0.2
QUIET_READINGS = 2
"""Readings without requests in a row after which a server may be ended."""


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

    def begin(self, member: Member, servers: int) -> Coroutine[Any, Any, None] | None:
        """Give a model `servers` servers, at least one; `refusal` was "". Returns what is left to
        wait for: the member changes at once, so that the orders and starts of the same moment see
        the servers and their memory. Servers end once their requests have, `requestTimeout` later
        at the latest."""
        if servers == len(member.services) and member.state is not State.SCALED_TO_ZERO:
            return None
        try:
            more = self.make(member.spec, len(member.services) + 1, servers)
        except Exception as error:  # it would end the supervisor's loop
            self._not_scaled(member, error)
            return None
        if member.state is State.SCALED_TO_ZERO:
            del member.services[servers:]
            member.services += more
            self.resize(member)
            member.load()
            return None
        if servers < len(member.services):
            member.leaving = member.services[servers:]
            del member.services[servers:]
            return self._shrink(member)
        member.growing = more
        self.resize(member)
        return self._grow(member)

    async def _shrink(self, member: Member) -> None:
        try:
            # A router that does not confirm loses at most requests that it can send elsewhere.
            await self.confirmed(self.publish())
        except OSError as error:
            member.services += member.leaving
            member.leaving = []
            self._not_scaled(member, error)
            return
        await asyncio.gather(*(self._end(member, service) for service in member.leaving))
        member.leaving = []
        self.resize(member)
        self.log(_has(member))

    async def _end(self, member: Member, service: Service) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(member.spec.limits.request_timeout):
                await _until_idle(member, service)
        await member.end(service, self.grace)

    async def _grow(self, member: Member) -> None:
        try:
            self.publish()
            while member.growing:
                service = member.growing[0]
                await service.start()
                if member.state is not State.READY:  # it was stopped meanwhile
                    break
                member.add(member.growing.pop(0))
                self.publish()
            self.log(_has(member))
        except Exception as error:  # the exception would be lost
            self._not_scaled(member, error)
        finally:
            rest, member.growing = member.growing, []
            for service in rest:
                await service.stop(self.grace)
            self.resize(member)

    def _not_scaled(self, member: Member, error: Exception) -> None:
        reason = error.message if isinstance(error, StartError) else repr(error)
        member.refuse(reason.rstrip("."))
        self.log(f"{member.spec.model} is not scaled: {reason}")


async def _until_idle(member: Member, service: Service) -> None:
    """Wait until a server has no requests, or its model is stopped. A request that the router has
    just sent is not counted yet, so it is read twice."""
    quiet = 0
    while member.state is State.READY and quiet < QUIET_READINGS:
        quiet = quiet + 1 if await service.requests() == 0 else 0
        await asyncio.sleep(POLL_SECONDS)


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
