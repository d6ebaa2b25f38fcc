"""Decisions of a service; its processes and probes are stand-ins."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fleet_local.output.log_output import LogFile
from fleet_local.processes import ports
from fleet_local.processes import service as services
from fleet_local.processes.service import SILENT_PROBES, STEADY_SECONDS, Launch, Service


class Live:
    """Yields the results of liveness probes; the process ends after the last."""

    def __init__(self, results: list[bool | None]) -> None:
        self.results = results
        self.status: int | None = None
        self.killed = False

    async def ended(self, within: float | None = None) -> bool:
        if not self.results and self.status is None:
            self.status = 7
        return self.status is not None

    async def live(self, base: str, instance: str) -> bool | None:
        return self.results.pop(0)

    def kill(self) -> None:
        self.killed, self.status = True, -9


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return made(tmp_path, [])


def made(folder: Path, reports: list[str]) -> Service:
    return Service(
        Launch("tiny", "tiny", ports.LOOPBACK, {}), LogFile(folder / "tiny.log"), probe=None,  # type: ignore[arg-type]
        lifeline=None, port=1, report=reports.append,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        (([None] * (SILENT_PROBES - 1) + [True]) * 2, "ended with status 7"),
        ([True] * 50, "ended with status 7"),
        ([None] * SILENT_PROBES + [True], "does not respond"),
        ([None, False, True], "is not healthy"),
    ],
    ids=["silent-in-turns", "live", "silent", "unhealthy"],
)  # fmt: skip
async def test_only_consecutive_failed_probes_count(
    service: Service, results: list[bool | None], reason: str
) -> None:
    live = Live(results)
    service._process = service._probe = live  # type: ignore[assignment]
    assert await service._until_down() == reason
    assert live.killed == (reason != "ended with status 7")


async def test_a_process_that_lived_long_is_restarted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    uptimes = iter([0.0, 1.0, 0.0, STEADY_SECONDS, 0.0, None])
    reports: list[str] = []
    service = made(tmp_path, reports)
    waits: list[float] = []
    seen = asyncio.Event()

    async def until_down() -> str:
        nonlocal now
        uptime = next(uptimes)
        if uptime is None:
            seen.set()
            await asyncio.Event().wait()
        now += uptime or 0.0
        return "ended"

    async def spawn() -> Any:
        return None

    async def until_ready(process: Any) -> bool:
        service._ready_at = now
        return True

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(service, "_until_down", until_down)
    monkeypatch.setattr(service, "_spawn", spawn)
    monkeypatch.setattr(service, "_until_ready", until_ready)
    monkeypatch.setattr(services, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(services, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(ports, "is_free", lambda port: True)
    keeping = asyncio.ensure_future(service.keep())
    await asyncio.wait_for(seen.wait(), 30)
    keeping.cancel()
    await asyncio.wait((keeping,))
    assert waits == [0.5, 1, 2, 0.5, 1]


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors that processes were started with."""
    found: list[int] = []

    async def start(module: str, arguments: Any, environ: Any, output: int, lifeline: Any) -> Any:
        os.fstat(output)  # open while the process starts
        found.append(output)
        if environ.get("FAIL"):
            raise OSError("too many processes")

    monkeypatch.setattr(services.Process, "start", start)
    return found


@pytest.mark.parametrize("environ", [{}, {"FAIL": "1"}])
async def test_no_descriptor_of_the_log_stays_open(
    service: Service, outputs: list[int], environ: dict[str, str]
) -> None:
    service._launch = Launch("tiny", "tiny", ports.LOOPBACK, environ)
    for _ in range(3):
        if environ:
            with pytest.raises(OSError, match="too many"):
                await service._spawn()
        else:
            await service._spawn()
    assert len(outputs) == 3
    for output in set(outputs):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(output)
