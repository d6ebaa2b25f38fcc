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
    assert command.is_done(entry, None) is loaded
    assert command.is_done(entry, 0) is unloaded


def test_when_a_model_has_its_servers() -> None:
    two = {**READY, "endpoints": READY["endpoints"] * 2}
    assert [command.is_done(two, number) for number in (1, 2, 3)] == [False, True, False]
    assert not command.is_done({**READY, "progress": "scaling to 2 servers"}, 1)


def test_a_refused_number_of_servers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [{"spec": {"model": "acme/a"}, **READY, "progress": "not scaled: maxReplicas is 1"}]
    (folder / "routes.json").write_text(json.dumps({"models": models}))
    monkeypatch.setattr(command, "until_taken", lambda folder, path: path.unlink())
    with pytest.raises(ValueError, match="acme/a is not scaled: maxReplicas is 1"):
        command.order("acme/a", 8000, wait=True, servers=2)


def test_an_order_without_a_fleet_is_deleted(folder: Path) -> None:
    with pytest.raises(ValueError, match="no fleet is running"):
        command.order("a", 8000, wait=True, servers=None)
    assert list((folder / "orders").iterdir()) == []


def test_an_order_that_a_starting_fleet_does_not_take_is_deleted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "TAKEN_SECONDS", 0.0)
    with run_lock.locked(folder), pytest.raises(ValueError, match="still starting"):
        command.order("a", 8000, wait=True, servers=None)
    assert list((folder / "orders").iterdir()) == []


def test_a_fleet_that_ends_meanwhile_ends_the_wait(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "until_taken", lambda folder, path: path.unlink())
    with pytest.raises(ValueError, match="no fleet is running"):
        command.order("a", 8000, wait=True, servers=None)
    command.order("a", 8000, wait=False, servers=None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"stopped": True}, "acme/a is stopped .*stopped: true"),
        ({"engine": "remote"}, "acme/a is remote: it has no servers here"),
        ({"replicas": 0}, "acme/a has `replicas: 0` without scaleToZeroAfter or yieldsAfter"),
    ],
)
@pytest.mark.parametrize("servers", [None, 0, 2])
def test_models_that_orders_do_not_start_are_refused(
    folder: Path, fields: dict[str, Any], reason: str, servers: int | None
) -> None:
    models = [{"spec": {"model": "acme/a", **fields}, **ASLEEP}]
    (folder / "routes.json").write_text(json.dumps({"models": models}))
    with pytest.raises(ValueError, match=reason):
        command.order("acme/a", 8000, wait=True, servers=servers)
    assert not (folder / "orders").exists()


@pytest.mark.parametrize("name", ["scaleToZeroAfter", "yieldsAfter"])
def test_a_model_that_starts_at_its_first_request_takes_orders(folder: Path, name: str) -> None:
    models = [{"spec": {"model": "acme/a", "replicas": 0, name: 0}, **ASLEEP}]
    (folder / "routes.json").write_text(json.dumps({"models": models}))
    assert command.found(folder, "acme/a")["spec"]["replicas"] == 0
