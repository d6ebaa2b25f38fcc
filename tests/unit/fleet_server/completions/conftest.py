"""The scripted chat model behind the completions route."""

from __future__ import annotations

from typing import Any

import pytest

from support.scripted_chat import ScriptedChat, Serve, serving
from support.waiting import until_async


@pytest.fixture
def serve(listen: Any) -> Serve:
    """`with serve(model, **spec fields) as live`."""
    return serving(listen, "/v1/completions")


@pytest.fixture
def scripted() -> type[ScriptedChat]:
    return ScriptedChat


@pytest.fixture
def until() -> Any:
    return until_async
