"""The scripted chat model behind the responses route."""

from __future__ import annotations

from typing import Any

import pytest

from support.scripted_chat import ScriptedChat, Serve, client_of, serving
from support.waiting import until_async

__all__ = ["client_of"]


@pytest.fixture
def serve(listen: Any) -> Serve:
    """`with serve(model, **spec fields) as live`."""
    return serving(listen, "/v1/responses")


@pytest.fixture
def scripted() -> type[ScriptedChat]:
    return ScriptedChat


@pytest.fixture
def until() -> Any:
    return until_async
