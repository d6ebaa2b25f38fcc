"""The router's app: its loops continue after errors."""

from __future__ import annotations

import asyncio

import pytest

from fleet_router.app import Source, create_app
from fleet_router.routing.table import LiveRoutes


async def test_a_loop_that_ends_is_restarted_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fleet_web.supervise.FIRST_SECONDS", 0.0)
    runs = 0
    steady = asyncio.Event()

    async def watch() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RecursionError
        steady.set()
        await asyncio.Event().wait()

    app = create_app(LiveRoutes(), Source(watch=watch))
    async with app.web.router.lifespan_context(app.web):
        await asyncio.wait_for(steady.wait(), 30)
    restarts = app.metrics.registry.get_sample_value(
        "modelfleet_router_loop_restarts_total", {"loop": "routes"}
    )
    assert restarts == 2
