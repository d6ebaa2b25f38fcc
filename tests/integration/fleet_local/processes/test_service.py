"""Services with small real servers: start, failures and restarts."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleet_local.errors import StartError
from fleet_local.output.log_output import LogFile
from fleet_local.processes import ports
from fleet_local.processes import service as services
from fleet_local.processes.probe import Probe
from fleet_local.processes.process import Lifeline
from fleet_local.processes.service import Launch, Service

PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 120
Until = Callable[..., Awaitable[None]]


class Made:
    """A service, its output and the control files of its server."""

    def __init__(
        self, folder: Path, probe: Probe, lifeline: Lifeline, port: int | None, until: Until
    ) -> None:
        self.folder = folder
        self.printed: list[str] = []
        self.moves: list[int] = []
        environ = {**os.environ, "PYTHONPATH": str(PROGRAMS), "STATE": str(folder)}
        launch = Launch("tiny", "tiny_server", ports.LOOPBACK, environ, port=port)
        log = LogFile(folder / "tiny.log")
        self.service = Service(
            launch, log, probe, lifeline, port or ports.pick(),
            report=self.printed.append, port_changed=lambda: self.moves.append(self.service.port),
        )  # fmt: skip
        self._log = log
        self.probe = probe
        self.until = until

    def switch(self, name: str, text: str = "") -> None:
        (self.folder / name).write_text(text)

    async def pid(self) -> int:
        """The process that responds."""
        (entry,) = await self.probe.models(self.service.base)
        return int(entry["pid"])

    @property
    def log(self) -> str:
        return "\n".join(self._log.tail())


@pytest.fixture
async def make(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Made]]:
    monkeypatch.setattr(services, "LIVE_POLL", 0.05)
    monkeypatch.setattr("fleet_local.processes.service.FIRST_SECONDS", 0.05)
    probe, lifeline = Probe(), Lifeline()
    made: list[Made] = []

    def build(port: int | None = None) -> Made:
        made.append(Made(tmp_path, probe, lifeline, port, until))
        return made[-1]

    yield build
    for one in made:
        one.service.kill()
        await one.service.stop(SECONDS)
    await probe.close()
    lifeline.close()


@pytest.fixture
async def supervised(make: Callable[..., Made]) -> AsyncIterator[Made]:
    """A service that is ready and supervised."""
    made = make()
    await made.service.start()
    task = asyncio.create_task(made.service.keep())
    yield made
    task.cancel()
    await asyncio.wait((task,))


async def test_start_waits_until_the_process_is_ready(make: Callable[..., Made]) -> None:
    made = make()
    made.switch("unready")
    starting = asyncio.create_task(made.service.start())
    await made.until(lambda: "asked /readyz" in made.log)
    assert not starting.done()
    (made.folder / "unready").unlink()
    await asyncio.wait_for(starting, SECONDS)
    assert made.service.seconds_to_ready > 0
    assert made.printed == []


async def test_a_load_failure_fails_the_start_with_its_reason(
    make: Callable[..., Made],
) -> None:
    made = make()
    made.switch("refuse", "3 No such weights. Fetch them.")
    with pytest.raises(StartError) as caught:
        await made.service.start()
    assert caught.value.message == "No such weights. Fetch them."
    assert "tiny.log" in caught.value.hint


async def test_other_exits_fail_the_start_with_the_last_lines(
    make: Callable[..., Made],
) -> None:
    made = make()
    made.switch("refuse", "9 x")
    with pytest.raises(StartError, match="tiny ended with status 9 before it was ready") as caught:
        await made.service.start()
    assert json.loads(caught.value.output[-1])["event"] == "load_failed"


async def test_a_server_with_an_occupied_port_gets_another(make: Callable[..., Made]) -> None:
    made = make()
    first = made.service.port
    with socket.create_server((ports.LOOPBACK, first)):
        await asyncio.wait_for(made.service.start(), SECONDS)
    assert made.service.port != first
    assert made.moves == [made.service.port]
    assert await made.pid()


async def test_a_fixed_port_that_was_taken_fails_the_start(make: Callable[..., Made]) -> None:
    port = ports.pick()
    made = make(port)
    with (
        socket.create_server((ports.LOOPBACK, port)),
        pytest.raises(StartError, match=f":{port}: another process listens there"),
    ):
        await made.service.start()


async def test_another_process_that_responds_is_not_taken_for_ours(
    make: Callable[..., Made],
) -> None:
    """It responds to every probe with 200, as the router of another fleet does."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("x-modelfleet-instance", "0" * 16)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer((ports.LOOPBACK, ports.pick()), Other) as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.05,))
        thread.start()
        try:
            fixed = make(other.server_address[1])
            with pytest.raises(StartError, match="another process listens there"):
                await asyncio.wait_for(fixed.service.start(), SECONDS)
        finally:
            other.shutdown()
            thread.join()


async def test_a_start_that_takes_for_ever_is_given_up(
    make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "START_SECONDS", 0.3)
    made = make()
    made.switch("unready")
    with pytest.raises(StartError, match="is not ready after"):
        await made.service.start()


async def test_a_killed_process_is_started_again_on_its_port(supervised: Made) -> None:
    first, port = await supervised.pid(), supervised.service.port
    os.kill(first, signal.SIGKILL)
    await supervised.until(lambda: len(supervised.printed) == 2)
    assert "was killed by SIGKILL" in supervised.printed[0]
    assert "is ready after" in supervised.printed[1]
    assert supervised.service.port == port
    assert await supervised.pid() != first


async def test_an_unhealthy_process_is_replaced(supervised: Made) -> None:
    first = await supervised.pid()
    supervised.switch("unhealthy")
    await supervised.until(lambda: bool(supervised.printed))
    (supervised.folder / "unhealthy").unlink()
    assert "is not healthy" in supervised.printed[0]
    await supervised.until(lambda: any("is ready after" in line for line in supervised.printed))
    assert await supervised.pid() != first


async def test_an_unresponsive_process_is_replaced(
    supervised: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet_local.processes.probe.TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(services, "SILENT_PROBES", 3)
    supervised.probe._client.timeout = 0.1
    os.kill(await supervised.pid(), signal.SIGSTOP)
    await supervised.until(lambda: bool(supervised.printed))
    assert "does not respond" in supervised.printed[0]
    supervised.probe._client.timeout = 5
    await supervised.until(lambda: any("is ready after" in line for line in supervised.printed))


async def test_restarts_back_off(supervised: Made) -> None:
    supervised.switch("refuse", "3 broken")
    os.kill(await supervised.pid(), signal.SIGKILL)
    await supervised.until(lambda: len(supervised.printed) >= 4)
    waits = [float(line.split(" in ")[1].split()[0]) for line in supervised.printed[:4]]
    assert waits == [0.05, 0.1, 0.2, 0.4]
    (supervised.folder / "refuse").unlink()
    await supervised.until(lambda: "is ready after" in supervised.printed[-1])


async def test_a_failed_start_is_retried_with_its_reason(make: Callable[..., Made]) -> None:
    made = make()
    made.switch("refuse", "3 acme_models has no class Missing.")
    with pytest.raises(StartError):
        await made.service.start()
    assert not made.service.is_ready
    task = asyncio.create_task(made.service.keep())
    await made.until(lambda: len(made.printed) >= 2)
    (made.folder / "refuse").unlink()
    await made.until(lambda: "is ready after" in made.printed[-1])
    assert made.service.is_ready
    task.cancel()
    await asyncio.wait((task,))
    reason = "tiny failed to load: acme_models has no class Missing; restarting in"
    assert [line.rpartition(" in ")[0] + " in" for line in made.printed[:2]] == [reason] * 2


async def test_a_repeated_failure_is_reported_once(
    supervised: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MOST_SECONDS", 0.05)
    supervised.switch("refuse", "3 broken")
    os.kill(await supervised.pid(), signal.SIGKILL)
    await supervised.until(lambda: supervised.log.count("load_failed") >= 3)
    (supervised.folder / "refuse").unlink()
    await supervised.until(lambda: "is ready after" in supervised.printed[-1])
    assert [line.partition(";")[0] for line in supervised.printed[:-1]] == [
        "tiny was killed by SIGKILL", "tiny failed to load: broken",
    ]  # fmt: skip


async def test_a_restart_with_an_occupied_port_gets_another(supervised: Made) -> None:
    supervised.switch("refuse", "3 wait")
    port = supervised.service.port
    os.kill(await supervised.pid(), signal.SIGKILL)
    await supervised.until(lambda: bool(supervised.printed))
    with socket.create_server((ports.LOOPBACK, port)):
        (supervised.folder / "refuse").unlink()
        await supervised.until(lambda: "is ready after" in supervised.printed[-1])
    assert supervised.service.port != port
    assert supervised.moves[-1] == supervised.service.port


async def test_stop_kills_a_process_that_ignores_sigterm(make: Callable[..., Made]) -> None:
    made = make()
    made.switch("deaf")
    await made.service.start()
    pid = await made.pid()
    await made.service.stop(0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
