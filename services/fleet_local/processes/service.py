"""A process that is kept running: started, probed until ready, watched, restarted with backoff."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fleet_contract.names import ENV_INSTANCE
from fleet_contract.server_protocol import LOAD_FAILED_STATUS
from fleet_local.errors import StartError
from fleet_local.output.log_output import LogOutput
from fleet_local.processes import exit_status, ports
from fleet_local.processes.probe import Probe
from fleet_local.processes.process import Lifeline, Process
from fleet_local.processes.server_events import load_failure

READY_POLL = 0.05
LIVE_POLL = 2.0
SILENT_PROBES = 12
"""Probes without a response in a row after which a process counts as hung: a minute or more."""
START_SECONDS = 1800.0
PORT_TRIES = 5
FIRST_SECONDS = 0.5
MOST_SECONDS = 30.0
STEADY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a process: `python -m module --host HOST --port PORT arguments`.

    `port` is the port it must listen on; None for any that is free. `key` is its name in routes and
    log files.
    """

    name: str
    module: str
    host: str
    environ: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    port: int | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait before a restart; `failures` counts those in a row since the last steady run."""

    failures: int = 0

    @property
    def seconds(self) -> float:
        """0.5 s after the first failure, doubled with each further one, at most 30 s."""
        return min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(max(self.failures - 1, 0), 16))

    def after(self, ready_seconds: float) -> Backoff:
        """The next one, after a process that was ready for `ready_seconds` (0 if it never was)."""
        return Backoff(1 if ready_seconds >= STEADY_SECONDS else self.failures + 1)


class Service:
    """One process of a fleet; `start` it, then `keep` it running until it is stopped.

    `report` gets a line of text for each failure and recovery, `port_changed` is called after each
    change of `port`.
    """

    def __init__(
        self,
        launch: Launch,
        log: LogOutput,
        probe: Probe,
        lifeline: Lifeline,
        port: int,
        *,
        report: Callable[[str], None],
        port_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = launch.name
        self.key = launch.key
        self.port = port
        self.log = log
        self.seconds_to_ready = 0.0
        self._launch = launch
        self._probe = probe
        self._lifeline = lifeline
        self._report = report
        self._port_changed = port_changed
        self._process: Process | None = None
        self._instance = ""
        self._ready_at: float | None = None
        self._backoff = Backoff()

    @property
    def base(self) -> str:
        """The base address for clients on this machine."""
        return f"http://{ports.client_host(self._launch.host)}:{self.port}"

    @property
    def is_ready(self) -> bool:
        """Whether the process was ready and has not ended since."""
        return self._ready_at is not None

    def set_environ(self, environ: Mapping[str, str]) -> None:
        """Change the environment of the process from its next start on."""
        self._launch = replace(self._launch, environ=environ)

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises StartError; it has ended then.

        After `stop` it may be started again.
        """
        self._ready_at, self._backoff = None, Backoff()
        for _ in range(PORT_TRIES):
            process = await self._spawn()
            if await self._until_ready(process):
                return
            if self._launch.port is not None or ports.is_free(self.port):
                break
            self._change_port()  # another process took the port after it was chosen
        raise self._start_failure(process)

    async def keep(self) -> None:
        """Restart the process whenever it ends, for ever. A failed `start` is retried, too."""
        last_report = ""
        while True:
            reason = await self._until_down()
            uptime = 0.0 if self._ready_at is None else time.monotonic() - self._ready_at
            self._backoff = self._backoff.after(uptime)
            self._ready_at = None
            wait = self._backoff.seconds
            # A permanent failure repeats itself at the longest wait: report it once.
            if (text := f"{self.name} {reason}; restarting in {wait:g} s") != last_report:
                self._report(text)
                last_report = text
            await asyncio.sleep(wait)
            if self._launch.port is None and not ports.is_free(self.port):
                self._change_port()
            process = await self._spawn()
            try:
                if await self._until_ready(process):
                    self._report(f"{self.name} is ready after {self.seconds_to_ready:.1f} s")
                    last_report = ""
            except StartError as error:
                self._report(error.message)

    async def requests(self) -> int | None:
        """The requests that the process serves or has in its queue; 0 if it has ended, None if it
        is too busy to respond."""
        return await self._probe.requests(self.base, self._instance)

    async def stop(self, grace: float) -> None:
        """End the process, by force after `grace` seconds."""
        self._ready_at = None
        if self._process is not None:
            await self._process.stop(grace)

    def kill(self) -> None:
        """End the process now."""
        if self._process is not None:
            self._process.kill()

    async def _spawn(self) -> Process:
        launch = self._launch
        self._instance = secrets.token_hex(8)
        environ = {**launch.environ, ENV_INSTANCE: self._instance}
        output = self.log.open()
        try:
            self._process = await Process.start(
                launch.module,
                ("--host", launch.host, "--port", str(self.port), *launch.arguments),
                environ, output, self._lifeline,
            )  # fmt: skip
        finally:
            os.close(output)
        return self._process

    async def _until_ready(self, process: Process) -> bool:
        """False when the process ended instead. Raises StartError after half an hour."""
        started = time.monotonic()
        while not await process.ended(READY_POLL):
            probing = asyncio.ensure_future(self._probe.ready(self.base, self._instance))
            # Another process may hold the port and never respond: do not wait for the probe alone.
            await asyncio.wait((probing, process.end), return_when=asyncio.FIRST_COMPLETED)
            if not probing.done():
                probing.cancel()
            elif probing.result():
                self._ready_at = time.monotonic()
                self.seconds_to_ready = self._ready_at - started
                return True
            if time.monotonic() - started > START_SECONDS:
                process.kill()
                await process.ended()
                raise StartError(
                    f"{self.name} is not ready after {START_SECONDS:g} seconds.",
                    f"Its log: {self.log.place}", exit_status.last_lines(self.log.tail()),
                )  # fmt: skip
        return False

    async def _until_down(self) -> str:
        """Wait until the process has ended, killing it when it is unhealthy; the reason."""
        process = self._process
        assert process is not None  # noqa: S101  (`start` comes before `keep`)
        silent = 0
        while not await process.ended(LIVE_POLL):
            self.log.trim()
            live = await self._probe.live(self.base, self._instance)
            silent = silent + 1 if live is None else 0
            if live is False or silent >= SILENT_PROBES:
                process.kill()
                await process.ended()
                return "is not healthy" if live is False else "does not respond"
        assert process.status is not None  # noqa: S101  (it has ended)
        reason = load_failure(self.log.tail())
        if process.status == LOAD_FAILED_STATUS and reason is not None:
            return f"failed to load: {reason.rstrip('.')}"
        return exit_status.describe(process.status)

    def _start_failure(self, process: Process) -> StartError:
        assert process.status is not None  # noqa: S101  (it has ended)
        if self._launch.port is not None:
            try:
                ports.require_free(self._launch.host, self._launch.port)
            except StartError as error:
                return error  # rather than the traceback of the process
        return exit_status.start_failure(self.name, process.status, self.log.tail(), self.log.place)

    def _change_port(self) -> None:
        self.port = ports.pick()
        self._port_changed()
