"""Polls the state of other processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from support.waiting import until_async


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Wait until a condition without an event is true; raises TimeoutError."""
    return until_async
