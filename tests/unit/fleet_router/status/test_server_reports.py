"""Reports of servers: parsed without trust, shared by viewers, and forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from fleet_router.routing.table import Endpoint
from fleet_router.status import server_reports
from fleet_router.status.server_reports import SILENT, ServerReport, ServerReports, parse
from fleet_router.upstream.pool import PoolManager


def test_a_report_of_a_server_that_starts() -> None:
    progress = {"done_bytes": 5, "total_bytes": None, "bytes_per_second": 2, "seconds_left": 1.5}
    stages = {"start": 0.5, "import": 9, "fetch": 2, "total": 9}
    body = {"status": "fetching", "stages": stages, "progress": progress,
            "in_flight": 0, "queue_depth": 3}  # fmt: skip
    assert parse(orjson.dumps(body)) == ServerReport(
        "fetching", {"start": 0.5, "fetch": 2.0}, progress, 0, 3
    )


@pytest.mark.parametrize("raw", [b"", b"[]", b"no json", b"{}", b'"x"', b"\xff"])
def test_a_response_of_another_project_reports_nothing(raw: bytes) -> None:
    assert parse(raw) == SILENT


def test_parts_of_another_type_are_unknown() -> None:
    body = {"status": 3, "stages": {"start": "x", "load": True}, "progress": {"done_bytes": "y"},
            "in_flight": True, "queue_depth": 1.5}  # fmt: skip
    unknown = dict.fromkeys(("done_bytes", "total_bytes", "bytes_per_second", "seconds_left"))
    assert parse(orjson.dumps(body)) == ServerReport(progress=unknown)


async def test_each_server_is_queried_for_its_health(monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[str] = []

    async def fetch(pools: PoolManager, endpoint: Endpoint, path: str, **more: Any) -> bytes:
        queries.append(f"{endpoint.name}{path}")
        await asyncio.sleep(0)
        return b'{"status": "ready"}'

    monkeypatch.setattr(server_reports, "fetch", fetch)
    one, other = Endpoint("one", "127.0.0.1", 1), Endpoint("other", "127.0.0.1", 2)
    reports = ServerReports(PoolManager())
    found = await asyncio.gather(*(reports.of(each) for each in (one, one, other)))
    assert [each.status for each in found] == ["ready"] * 3
    assert queries == ["one/health", "other/health"]
    reports.keep({one})
    await reports.of(one)
    await reports.of(other)
    assert queries[2:] == ["other/health"]
