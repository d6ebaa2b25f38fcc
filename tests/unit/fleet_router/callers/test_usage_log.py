"""Lines of requests, written outside of the event loop and kept while the disk is full."""

from __future__ import annotations

import asyncio
import errno
import json
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fleet_router.callers import usage_log
from fleet_router.callers.line_file import LineFile
from fleet_router.callers.request_record import RequestRecord
from fleet_router.callers.usage import RequestUsage
from fleet_router.callers.usage_log import UsageLog
from fleet_router.metrics import RouterMetrics
from support.waiting import until_async


class Disk:
    """Makes appending fail while `full`, and wait for `released`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.released = threading.Event()
        self.released.set()
        self.failures = 0
        append = LineFile.append

        def checked(file: LineFile, lines: Sequence[bytes]) -> None:
            assert self.released.wait(30)
            if self.full:
                self.failures += 1
                raise OSError(errno.ENOSPC, "No space left on device")
            append(file, lines)

        monkeypatch.setattr(LineFile, "append", checked)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(usage_log, "RETRY_SECONDS", 0.0)
    return Disk(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage.jsonl"


@pytest.fixture
async def log(path: Path, disk: Disk) -> AsyncIterator[UsageLog]:
    log = UsageLog(RouterMetrics(), path)
    running = asyncio.create_task(log.run())
    yield log
    running.cancel()
    await asyncio.wait((running,))
    log.close()


def reported(log: UsageLog, number: int) -> None:
    log.report(RequestRecord(model="m", path="/v1/x", key=str(number)), 200, 0.1)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def keys(path: Path) -> list[int]:
    return [int(line["key"]) for line in lines(path)]


async def test_lines_are_written_while_requests_continue(
    log: UsageLog, path: Path, disk: Disk
) -> None:
    disk.released.clear()
    for number in range(3):
        reported(log, number)  # does not wait for the disk
    await asyncio.sleep(0)
    assert keys(path) == []
    disk.released.set()
    await until_async(lambda: keys(path) == [0, 1, 2])


async def test_lines_are_kept_while_the_disk_is_full(log: UsageLog, path: Path, disk: Disk) -> None:
    disk.full = True
    reported(log, 0)
    await until_async(lambda: disk.failures >= 2)
    reported(log, 1)
    disk.full = False
    await until_async(lambda: keys(path) == [0, 1])


async def test_a_full_disk_is_not_tried_without_a_pause(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    disk.full = True
    log = UsageLog(RouterMetrics(), path)
    running = asyncio.create_task(log.run())
    reported(log, 0)
    await until_async(lambda: disk.failures)
    await asyncio.sleep(0.05)  # time for hundreds of attempts without a pause
    assert disk.failures <= 3
    running.cancel()
    await asyncio.wait((running,))
    log.close()


async def test_kept_lines_are_bounded_and_dropped_ones_counted(
    log: UsageLog, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert usage_log.MAX_PENDING == 100_000  # docs/router.md
    monkeypatch.setattr(usage_log, "MAX_PENDING", 3)
    monkeypatch.setattr(usage_log, "BATCH", 2)
    disk.full = True
    for number in range(5):
        reported(log, number)
    disk.full = False
    await until_async(lambda: keys(path) == [0, 1, 2])
    name = "modelfleet_router_usage_log_lines_dropped_total"
    assert log._metrics.registry.get_sample_value(name) == 2


async def test_the_last_lines_are_written_at_the_end(path: Path, disk: Disk) -> None:
    log = UsageLog(RouterMetrics(), path)
    running = asyncio.create_task(log.run())
    reported(log, 0)
    await until_async(lambda: keys(path) == [0])
    disk.released.clear()
    reported(log, 1)
    await until_async(lambda: log._arrived.is_set())
    running.cancel()
    reported(log, 2)
    disk.released.set()
    await asyncio.wait((running,))
    log.close()
    log.close()
    assert keys(path) == [0, 1, 2]


async def test_a_line_has_the_counts_of_the_request(log: UsageLog, path: Path) -> None:
    record = RequestRecord(
        model="m", path="/v1/x", key="k", images=2, usage=RequestUsage(7, 5, 3, audio_seconds=1.5)
    )
    log.report(record, 200, 0.01234)
    await until_async(lambda: path.read_bytes().endswith(b"\n"))
    (line,) = lines(path)
    assert time.strptime(line.pop("time"), "%Y-%m-%dT%H:%M:%SZ")
    assert line == {
        "request_id": "", "key": "k", "model": "m", "path": "/v1/x", "status": 200,
        "prompt_tokens": 7, "cached_tokens": 5, "completion_tokens": 3, "audio_seconds": 1.5,
        "images": 2, "ms": 12.3,
    }  # fmt: skip
    counted = log._metrics.registry.get_sample_value
    for kind, number in (("prompt", 7), ("cached", 5), ("completion", 3)):
        labels = {"model": "m", "key": "k", "kind": kind}
        assert counted("modelfleet_router_tokens_total", labels) == number
    for name, number in (("audio_seconds", 1.5), ("images", 2)):
        assert counted(f"modelfleet_router_{name}_total", {"model": "m", "key": "k"}) == number


async def test_a_file_that_was_moved_is_opened_again_on_request(log: UsageLog, path: Path) -> None:
    UsageLog(RouterMetrics()).reopen()  # without a file nothing happens
    log.reopen()
    assert log._file is not None
    assert log._file.stale


async def test_a_line_names_what_was_estimated_and_requested(log: UsageLog, path: Path) -> None:
    log.report(RequestRecord(model="m", path="/v1/x"), 200, 0.1)
    record = RequestRecord(model="m", path="/v1/x", estimated=True, fallback_for="n")
    log.report(record, 504, 0.1)
    await until_async(lambda: len(lines(path)) == 2)
    plain, other = lines(path)
    assert (plain["status"], plain["ms"]) == (200, 100.0)
    assert not {"estimated", "fallback_for"} & plain.keys()
    assert (other["estimated"], other["fallback_for"]) == (True, "n")
