"""Settings and specs for the tests of local mode."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from fleet_contract.spec import ModelSpec
from fleet_local.settings import UpSettings


@pytest.fixture
def settings() -> Callable[..., UpSettings]:
    """The defaults with fields of one's own."""
    return lambda **fields: replace(UpSettings.read({}), **fields)


@pytest.fixture
def spec() -> Callable[..., ModelSpec]:
    """A chat model with fields of one's own."""
    return lambda model="acme/chat", **fields: ModelSpec.model_validate({"model": model, **fields})


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Waits until a condition holds that no event announces, and fails when it never does."""

    async def wait(condition: Callable[[], bool], seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  (other processes set no event of ours)
                await asyncio.sleep(0.01)

    return wait
