"""The chat model with known answers, asked to go on from texts."""

from __future__ import annotations

from typing import Any

import pytest

from unit.fleet_server.chat.conftest import ScriptedChat, Serve, eventually, serving


@pytest.fixture
def serve(listen: Any) -> Serve:
    """`with serve(model, **spec fields) as live`."""
    return serving(listen, "/v1/completions")


@pytest.fixture
def scripted() -> type[ScriptedChat]:
    return ScriptedChat


@pytest.fixture
def until() -> Any:
    return eventually
