"""One fleet for all tests of this folder, and what a caller gets from it while it is quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostile import caller
from hostile.caller import Quiet
from hostile.fleet import hostile_fleet, target_of_environment
from hostile.target import CHAT, Target
from support.local_fleet import Fleet
from support.required import did_not_run

QUIET_SECONDS = 120.0
"""How long a fleet may take to be quiet again after an attack."""


@pytest.fixture(scope="session")
def attacked(
    demo_weights: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Target, Fleet | None]]:
    """The target, and its fleet where this suite started it."""
    if (given := target_of_environment()) is not None:
        yield given, None
        return
    models = demo_weights(CHAT).parent
    with hostile_fleet(models, tmp_path_factory.mktemp("hostile")) as (target, fleet):
        yield target, fleet


@pytest.fixture(scope="session")
def target(attacked: tuple[Target, Fleet | None]) -> Target:
    return attacked[0]


@pytest.fixture
def fleet(attacked: tuple[Target, Fleet | None]) -> Fleet:
    """The fleet of processes."""
    if attacked[1] is None:
        did_not_run("needs the processes of the fleet; HOSTILE_URL is set")
    return attacked[1]


@pytest.fixture(scope="session")
def usual(target: Target) -> Quiet:
    """What requests take on the quiet fleet."""
    return caller.quiet(target)


@pytest.fixture
def quiet(target: Target, usual: Quiet) -> Quiet:
    """The same, once the fleet is as quick as it was. Fails where it does not recover."""
    deadline = time.monotonic() + QUIET_SECONDS
    for kind, before in usual.items():
        while (probe := caller.ask(target, kind)).failure or probe.first > before.first * 2 + 0.3:
            assert time.monotonic() < deadline, f"not quiet again: {kind.__name__} {probe}"
            time.sleep(0.1)
    return usual
