"""Waiting for another process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from support.waiting import until_async


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Waits until a condition holds that no event announces, and fails when it never does."""
    return until_async
