"""A process that is kept running: started until ready, watched, started again. Used by `fleet`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleet_local.errors import StartError
from fleet_local.output.log_output import LogOutput
from fleet_local.processes import exit_status, ports
from fleet_local.processes.backoff import Backoff
from fleet_local.processes.probe import Probe
from fleet_local.processes.process import Lifeline, Process

READY_POLL = 0.05
LIVE_POLL = 2.0
SILENT_PROBES = 12
"""Probes in a row without an answer after which a process is taken for hung: a minute or more."""
START_SECONDS = 1800.0
PORT_TRIES = 5


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start it: `python -m module --host HOST --port PORT arguments`."""

    name: str
    module: str
    host: str
    environ: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    port: int | None = None
    """The port it must have; None for any that is free."""


class Service:
    """`announce` hears in words of every fall and return, `moved` of every new port."""

    def __init__(
        self,
        launch: Launch,
        sink: LogOutput,
        probe: Probe,
        lifeline: Lifeline,
        port: int,
        *,
        announce: Callable[[str], None],
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = launch.name
        self.port = port
        self.seconds_to_ready = 0.0
        self._launch = launch
        self._sink = sink
        self._probe = probe
        self._lifeline = lifeline
        self._announce = announce
        self._moved = moved
        self._process: Process | None = None
        self._ready_at: float | None = None
        self._backoff = Backoff()

    @property
    def base(self) -> str:
        """Where this machine reaches it."""
        return f"http://{ports.shown_host(self._launch.host)}:{self.port}"

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises StartError with the reason."""
        for _ in range(PORT_TRIES):
            process = await self._spawn()
            if await self._until_ready(process):
                return
            if self._launch.port is not None or ports.is_free(self.port):
                break
            self._move()  # somebody took the port between our look and the server's
        assert process.status is not None  # noqa: S101  (it ended)
        raise exit_status.start_failure(
            self.name, process.status, self._sink.tail(), self._sink.place
        )

    async def keep(self) -> None:
        """Start it again whenever it goes down, for ever."""
        while True:
            reason = await self._until_down()
            uptime = 0.0 if self._ready_at is None else time.monotonic() - self._ready_at
            self._backoff = self._backoff.after(uptime)
            self._ready_at = None
            wait = self._backoff.seconds
            self._announce(f"{self.name} {reason}; it is started again in {wait:g} s")
            await asyncio.sleep(wait)
            if self._launch.port is None and not ports.is_free(self.port):
                self._move()
            process = await self._spawn()
            try:
                if await self._until_ready(process):
                    self._announce(f"{self.name} is ready after {self.seconds_to_ready:.1f} s")
            except StartError as error:
                self._announce(error.message)
                process.kill()

    async def stop(self, grace: float) -> None:
        """End the process, by force after `grace` seconds."""
        if self._process is not None:
            await self._process.stop(grace)

    def kill(self) -> None:
        """End the process now."""
        if self._process is not None:
            self._process.kill()

    async def _spawn(self) -> Process:
        launch = self._launch
        output = self._sink.open()
        try:
            self._process = await Process.start(
                launch.module,
                ("--host", launch.host, "--port", str(self.port), *launch.arguments),
                launch.environ, output, self._lifeline,
            )  # fmt: skip
        finally:
            os.close(output)
        return self._process

    async def _until_ready(self, process: Process) -> bool:
        """False when it ended instead. Raises StartError when it is neither for half an hour."""
        started = time.monotonic()
        while not await process.ended(READY_POLL):
            asking = asyncio.ensure_future(self._probe.ready(self.base))
            # Whoever holds the port may never answer; our process's end must not wait for that.
            await asyncio.wait((asking, process.end), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                asking.cancel()
            elif asking.result():
                self._ready_at = time.monotonic()
                self.seconds_to_ready = self._ready_at - started
                return True
            if time.monotonic() - started > START_SECONDS:
                raise StartError(
                    f"{self.name} is not ready after {START_SECONDS:g} seconds.",
                    f"Its log: {self._sink.place}", exit_status.last_lines(self._sink.tail()),
                )  # fmt: skip
        return False

    async def _until_down(self) -> str:
        """Watch the process until it ended or is of no more use; then it has ended. Says why."""
        process = self._process
        assert process is not None  # noqa: S101  (started before it is kept)
        silent = 0
        while not await process.ended(LIVE_POLL):
            self._sink.trim()
            live = await self._probe.live(self.base)
            silent = silent + 1 if live is None else 0
            if live is False or silent >= SILENT_PROBES:
                process.kill()
                await process.ended()
                return "is not healthy" if live is False else "does not answer any more"
        assert process.status is not None  # noqa: S101  (it ended)
        return exit_status.ending(process.status)

    def _move(self) -> None:
        self.port = ports.pick()
        self._moved()
