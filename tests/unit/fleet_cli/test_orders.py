"""`modelfleet load` and `unload`: when they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fleet_cli import orders as command
from fleet_local import run_lock

ASLEEP = {"endpoints": [], "phase": "ScaledToZero", "progress": ""}
STOPPING = {**ASLEEP, "progress": "stopping"}
FETCHING = {**ASLEEP, "progress": "fetching weights 42 %"}
STARTING = {"endpoints": [], "phase": "Progressing", "progress": "loading, 3 s"}
READY = {"endpoints": [{"name": "a", "url": "http://127.0.0.1:1"}], "phase": None, "progress": ""}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a fleet with a model that starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "POLL_SECONDS", 0.0)
    folder = tmp_path / "run" / "8000"
    folder.mkdir(parents=True)
    models = [{"spec": {"model": "acme/a", "aliases": ["a"]}, **STARTING}]
    (folder / "routes.json").write_text(json.dumps({"models": models}))
    return folder


@pytest.mark.parametrize(
    ("entry", "loaded", "unloaded"),
    [
        (ASLEEP, False, True), (STOPPING, False, False), (FETCHING, False, True),
        (STARTING, False, False), (READY, True, False),
        ({**ASLEEP, "phase": "Failed"}, False, True),
    ],
)  # fmt: skip
def test_when_an_order_is_done(entry: dict[str, Any], loaded: bool, unloaded: bool) -> None:
    assert command.is_done(entry, is_load=True) is loaded
    assert command.is_done(entry, is_load=False) is unloaded


def test_an_order_without_a_fleet_is_deleted(folder: Path) -> None:
    with pytest.raises(ValueError, match="does not run"):
        command.order("a", 8000, wait=True, is_load=True)
    assert list((folder / "orders").iterdir()) == []


def test_an_order_that_a_starting_fleet_does_not_take_is_deleted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "TAKEN_SECONDS", 0.0)
    with run_lock.locked(folder), pytest.raises(ValueError, match="still starts"):
        command.order("a", 8000, wait=True, is_load=True)
    assert list((folder / "orders").iterdir()) == []


def test_a_fleet_that_ends_meanwhile_ends_the_wait(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "until_taken", lambda folder, path: path.unlink())
    with pytest.raises(ValueError, match="does not run"):
        command.order("a", 8000, wait=True, is_load=True)
    command.order("a", 8000, wait=False, is_load=True)
