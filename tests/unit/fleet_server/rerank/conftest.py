"""The real app around a tiny random cross-encoder, called without a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.app import create_app
from fleet_server.engines.openvino.encoder import RerankEngine
from fleet_server.state import ServerState

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def serve(
    tiny_encoder: Callable[..., Path], encoder_tensors: Callable[..., dict[str, np.ndarray]]
) -> Serve:
    """`async with serve(**spec fields) as client`; `client.model` is the engine."""

    @asynccontextmanager
    async def start(**fields: Any) -> AsyncIterator[httpx.AsyncClient]:
        spec = ModelSpec.model_validate(
            {"model": "tiny", "task": "rerank", "dtype": "float32"} | fields
        )
        server = ServerState(spec, 2)
        app = create_app(server)
        model = RerankEngine(spec, tiny_encoder(encoder_tensors("bert.", head=True)), 1)
        server.set_ready(model)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            client.model = model  # type: ignore[attr-defined]
            yield client
        server.close()

    return start
