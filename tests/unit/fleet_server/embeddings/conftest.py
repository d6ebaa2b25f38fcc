"""The real app around a tiny random encoder, called without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.app import create_app
from fleet_server.engines.openvino.encoder import EmbeddingEngine
from fleet_server.state import ServerState

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def serve(tiny_encoder: Callable[..., Path]) -> Serve:
    """`async with serve(**spec fields) as client`; `client.server` is the state."""

    @asynccontextmanager
    async def start(*, loaded: bool = True, **fields: Any) -> AsyncIterator[httpx.AsyncClient]:
        spec = ModelSpec.model_validate(
            {"model": "tiny", "task": "embedding", "dtype": "float32"} | fields
        )
        server = ServerState(spec, 2)
        app = create_app(server)
        if loaded:
            server.set_ready(EmbeddingEngine(spec, tiny_encoder(), 1))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            client.server = server  # type: ignore[attr-defined]
            yield client
        server.close()

    return start
