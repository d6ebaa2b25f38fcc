"""When an idle server gives memory back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fleet_contract.spec import ModelSpec
from fleet_server.startup import idle_memory
from fleet_server.startup.idle_memory import (
    BUSY_BYTES,
    CHECK_SECONDS,
    GROWN_BYTES,
    MOST_DROPS,
    Action,
    IdleMemory,
    action,
)
from fleet_server.state import ServerState
from support.waiting import until_async


@pytest.mark.parametrize(
    ("idle", "grown", "release_after", "released", "expected"),
    [
        (0, BUSY_BYTES, 300, False, Action.NOTHING),
        (0, 2 * BUSY_BYTES, 300, False, Action.DROP),
        (CHECK_SECONDS, 2 * GROWN_BYTES, 300, False, Action.TRIM),
        (CHECK_SECONDS, 0, 300, False, Action.NOTHING),
        (300, 0, 300, False, Action.RELEASE),
        (300, 0, 300, True, Action.NOTHING),
        (300, 2 * GROWN_BYTES, 300, True, Action.TRIM),
        (10_000, 0, 0, False, Action.NOTHING),
    ],
)
def test_actions(
    idle: float, grown: float, release_after: float, released: bool, expected: Action
) -> None:
    assert action(idle, grown, release_after, released=released) is expected


class Model:
    max_concurrent = 1

    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1

    def close(self) -> None: ...


class Idle:
    """An admission that has been idle for `idle_seconds`."""

    idle_seconds = 0.0


async def test_a_model_gives_its_memory_up_once_after_each_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec.model_validate({"model": "m", "cache": {"releaseAfter": 60}})
    state, model, idle = ServerState(spec, 1), Model(), Idle()
    kept = IdleMemory(state, tmp_path)
    trims: list[Path] = []
    monkeypatch.setattr(idle_memory.memory, "release_files", trims.append)
    await kept.check()  # before the model is ready
    state.set_ready(model)
    monkeypatch.setattr(state, "_admission", idle)
    for seconds, released in ((0, 0), (59, 0), (61, 1), (66, 1), (0, 1), (30, 1), (70, 2)):
        idle.idle_seconds = seconds
        await kept.check()
        assert model.released == released
    # The first idle check, and the one after each release, look for freed memory.
    assert trims == [tmp_path] * 2
    state.close()


@pytest.mark.parametrize(("after", "idle_seconds"), [(60, 12), (8, 8.5), (0, None)])
async def test_what_costs_little_is_given_up_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, idle_seconds: float | None
) -> None:
    spec = ModelSpec.model_validate({"model": "m", "cache": {"releaseAfter": after}})
    state, model, idle = ServerState(spec, 1), Model(), Idle()
    monkeypatch.setattr(model, "release_seconds", 12.0, raising=False)
    kept = IdleMemory(state, tmp_path)
    state.set_ready(model)
    monkeypatch.setattr(state, "_admission", idle)
    released = []
    for seconds in (0, 7, 8.5, 11, 12, 100):
        idle.idle_seconds = seconds
        await kept.check()
        if model.released and not released:
            released.append(seconds)
    assert released == ([] if idle_seconds is None else [idle_seconds])
    state.close()


async def test_a_busy_server_drops_pages_of_files_that_were_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, idle = ServerState(ModelSpec.model_validate({"model": "m"}), 1), Idle()
    kept = IdleMemory(state, tmp_path)
    dropped: list[Path] = []
    resident = [100 << 20]
    monkeypatch.setattr(idle_memory.memory, "release_files", dropped.append)
    monkeypatch.setattr(idle_memory.memory, "resident_bytes", lambda: resident[0])
    state.set_ready(Model())
    monkeypatch.setattr(state, "_admission", idle)
    await kept.after_loading()
    for grown, times in ((32, 1), (80, 2), (120, 2), (160, 3)):
        resident[0] = (100 + grown) << 20
        await kept.check()
        assert len(dropped) == times
    state.close()


async def test_a_busy_server_does_not_drop_pages_in_use_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of llama.cpp, which computes with the mapped file."""
    state, idle = ServerState(ModelSpec.model_validate({"model": "m"}), 1), Idle()
    kept = IdleMemory(state, tmp_path)
    resident = [100 << 20]
    dropped: list[Path] = []

    def release(folder: Path) -> None:
        dropped.append(folder)
        resident[0] = 100 << 20

    monkeypatch.setattr(idle_memory.memory, "release_files", release)
    monkeypatch.setattr(idle_memory.memory, "resident_bytes", lambda: resident[0])
    state.set_ready(Model())
    monkeypatch.setattr(state, "_admission", idle)
    busy = [*range(1, MOST_DROPS + 1), MOST_DROPS, MOST_DROPS]
    for seconds, times in [*((0, each) for each in busy), (CHECK_SECONDS, MOST_DROPS),
                           (0, MOST_DROPS)]:  # fmt: skip
        idle.idle_seconds = seconds
        resident[0] = 1100 << 20
        await kept.check()
        assert len(dropped) == times
    state.close()


async def test_what_loading_has_left_is_returned_even_if_requests_never_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = ServerState(ModelSpec.model_validate({"model": "m"}), 1)
    trims: list[Path] = []
    monkeypatch.setattr(idle_memory.memory, "release_files", trims.append)
    keeping = asyncio.create_task(IdleMemory(state, tmp_path).keep())
    await until_async(lambda: trims)
    keeping.cancel()
    assert trims == [tmp_path]
    state.close()


async def test_pages_of_a_file_that_a_model_may_unmap_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, model = ServerState(ModelSpec.model_validate({"model": "m"}), 1), Model()
    kept = IdleMemory(state, tmp_path)
    dropped: list[Path] = []
    monkeypatch.setattr(idle_memory.memory, "release_files", dropped.append)
    state.set_ready(model)
    for may_unmap, times in ((True, 0), (False, 1)):
        monkeypatch.setattr(model, "may_unmap", may_unmap, raising=False)
        await kept.after_loading()
        assert len(dropped) == times
    state.close()
