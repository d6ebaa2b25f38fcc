"""The scripted chat model behind the routes of messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from support.scripted_chat import ScriptedChat, Serve, serving


@pytest.fixture
def serve(listen: Any) -> Serve:
    """`with serve(model, **spec fields) as live`."""
    return serving(listen, "/v1/messages")


@pytest.fixture
def scripted() -> type[ScriptedChat]:
    return ScriptedChat


@pytest.fixture
def client_of() -> Callable[[Any], anthropic.AsyncAnthropic]:
    """The official client of a served model."""

    def make(live: Any) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=live.url, api_key="none", max_retries=0)

    return make
