"""The scripted chat model behind the responses route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

from support.scripted_chat import ScriptedChat, Serve, serving
from support.waiting import until_async


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


@pytest.fixture
def client_of() -> Callable[[Any], openai.AsyncOpenAI]:
    """The official client of a served model."""

    def make(live: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none", max_retries=0)

    return make
