"""A client of a router's console."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from fleet_router.app import create_app
from fleet_router.callers.auth import Auth
from fleet_router.proxy.waiting import WaitSettings
from fleet_router.routing.table import LiveRoutes

SECRET = "hunter2"
"""A value that no response may contain."""


@asynccontextmanager
async def client(
    routes: LiveRoutes, auth: Auth | None = None, **more: Any
) -> AsyncIterator[httpx.AsyncClient]:
    settings = {"with_console": True, "wait_settings": WaitSettings(seconds=0), **more}
    app = create_app(routes, auth=auth, **settings).web
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http


def login(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
