"""Settings and specs for the tests of local mode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from fleet_contract.spec import ModelSpec
from fleet_local.settings import UpSettings
from support.waiting import until_async


@pytest.fixture
def settings() -> Callable[..., UpSettings]:
    """The defaults with other fields."""
    return lambda **fields: replace(UpSettings.read({}), **fields)


@pytest.fixture
def spec() -> Callable[..., ModelSpec]:
    """A chat model with other fields."""
    return lambda model="acme/chat", **fields: ModelSpec.model_validate({"model": model, **fields})


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Waits until a condition holds that no event announces, and fails when it never does."""

    return until_async
