"""The start of a fleet some of whose servers fail; processes are stand-ins."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console as Rich

from fleet_contract.spec import ModelSpec
from fleet_local.errors import StartError
from fleet_local.fleet import Fleet
from fleet_local.output.console import Console
from fleet_local.processes.service import Service
from fleet_local.replicas import THREADS
from fleet_local.settings import UpSettings

Spec = Callable[..., ModelSpec]
Start = Callable[..., Fleet]
FAILURE = StartError("acme_models has no class Missing.", "Its log: x.log")


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the services whose start fails; the others are ready at once."""
    names: set[str] = set()

    async def start(service: Service) -> None:
        if service.name in names:
            raise FAILURE
        service._ready_at = 0.0

    monkeypatch.setattr(Service, "start", start)
    return names


@pytest.fixture
def build(
    tmp_path: Path, settings: Callable[..., UpSettings], screen: io.StringIO, failing: set[str]
) -> Start:
    def make(*specs: ModelSpec, environ: dict[str, str] | None = None, **fields: Any) -> Fleet:
        console = Console(Rich(file=screen, force_terminal=False))
        chosen = settings(run_root=tmp_path / "run", **fields)
        return Fleet(specs, chosen, environ or {}, tmp_path, console)

    return make


async def states(fleet: Fleet) -> dict[str, str]:
    return {row.model: row.state for row in await fleet.rows()}


async def test_the_others_continue_when_one_server_fails(
    build: Start, spec: Spec, screen: io.StringIO, failing: set[str]
) -> None:
    failing.add("acme/broken")
    fleet = build(spec("acme/broken"), spec("acme/good"))
    await fleet.start()
    assert "acme/broken failed to start: acme_models has no class Missing." in screen.getvalue()
    assert await states(fleet) == {"acme/broken": "failed", "acme/good": "unknown"}
    await fleet.stop()


@pytest.mark.parametrize("models", [["a"], ["a", "b"]])
async def test_a_fleet_without_a_server_that_starts_fails(
    build: Start, spec: Spec, failing: set[str], models: list[str]
) -> None:
    failing.update(models)
    fleet = build(*map(spec, models))
    with pytest.raises(StartError, match="no class Missing"):
        await fleet.start()
    await fleet.stop()


async def test_a_remote_model_is_enough_to_continue(
    build: Start, spec: Spec, failing: set[str]
) -> None:
    failing.add("a")
    fleet = build(spec("a"), spec("far", engine="remote", remote={"address": "http://h"}))
    await fleet.start()
    assert (await states(fleet))["a"] == "failed"
    await fleet.stop()


async def test_a_router_that_fails_ends_the_start(
    build: Start, spec: Spec, failing: set[str]
) -> None:
    failing.add("router")
    fleet = build(spec("a"), spec("b"))
    with pytest.raises(StartError):
        await fleet.start()
    await fleet.stop()


def routes(folder: Path) -> list[dict[str, Any]]:
    (path,) = (folder / "run").glob("*/routes.json")
    models: list[dict[str, Any]] = json.loads(path.read_text())["models"]
    return models


async def test_models_on_demand_wait_for_a_request(
    build: Start, spec: Spec, tmp_path: Path, failing: set[str]
) -> None:
    fleet = build(spec("a"), spec("b", minReplicas=1), on_demand=True)
    assert fleet.starting == 1
    await fleet.start()
    assert await states(fleet) == {"a": "scaled_to_zero", "b": "unknown"}
    asleep, pinned = routes(tmp_path)
    assert (asleep["endpoints"], asleep["phase"]) == ([], "ScaledToZero")
    # Its weights may have to be fetched first.
    assert asleep["spec"]["routing"]["holdSeconds"] == 300
    assert (len(pinned["endpoints"]), pinned["phase"]) == (1, None)
    assert "routing" not in pinned["spec"]
    await fleet.stop()


def test_after_scaling_the_next_start_has_the_new_share_of_the_cpus(
    build: Start, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet_local.fleet.available_cpus", lambda: 4)
    fleet = build(spec("a"))
    member = fleet.members["a"]

    def threads() -> list[str | None]:
        return [one._launch.environ.get(THREADS) for one in member.services]

    assert threads() == [None]
    member.services += fleet._make_servers(member.spec, 2, 2)
    assert threads() == ["2", "2"]
    assert fleet._make_servers(member.spec, 3, 1) == []
    assert threads()[0] is None


async def test_a_model_that_wakes_has_no_servers_until_they_are_ready(
    build: Start, spec: Spec, tmp_path: Path, failing: set[str]
) -> None:
    fleet = build(spec("a", replicas=2), on_demand=True)
    await fleet.start()
    member = fleet.members["a"]
    member.begin()
    fleet._publish()
    (starting,) = routes(tmp_path)
    assert (starting["endpoints"], starting["phase"]) == ([], "Progressing")
    assert (starting["progress"], starting["spec"]["routing"]["holdSeconds"]) == ("loading", 300)
    await member.start(lambda service, error: None)
    fleet._publish()
    (ready,) = routes(tmp_path)
    assert (len(ready["endpoints"]), ready["phase"]) == (2, None)
    await fleet.stop()


@pytest.mark.parametrize(
    ("fields", "environ"), [({"routing": {"holdSeconds": 5}}, {}), ({}, {"HOLD_SECONDS": "5"})]
)
async def test_the_time_that_requests_wait_can_be_set(
    build: Start, spec: Spec, tmp_path: Path, fields: dict[str, Any], environ: dict[str, str]
) -> None:
    fleet = build(spec("a", **fields), environ=environ, on_demand=True)
    await fleet.start()
    (asleep,) = routes(tmp_path)
    assert asleep["spec"].get("routing", {}) == fields.get("routing", {})
    await fleet.stop()


async def test_headers_and_logs_name_servers_alike(
    build: Start, spec: Spec, tmp_path: Path, failing: set[str]
) -> None:
    fleet = build(spec("acme/one"), spec("acme/two", replicas=2))
    await fleet.start()
    (folder,) = (tmp_path / "run").iterdir()
    models = json.loads((folder / "routes.json").read_text())["models"]
    names = [endpoint["name"] for model in models for endpoint in model["endpoints"]]
    assert names == ["acme--one", "acme--two-1", "acme--two-2"]
    services = [server for each in fleet.members.values() for server in each.services]
    assert [Path(server.log.place).stem for server in services] == names
    await fleet.stop()


async def test_settings_that_servers_ignored_are_collected(build: Start, spec: Spec) -> None:
    fleet = build(spec("acme/one"))
    (server,) = fleet.members["acme/one"].services
    event = {"event": "setting_ignored", "setting": "CHAT_BATCH_WINDOW_MS", "reason": "no wait"}
    output = server.log.open()
    os.write(output, json.dumps(event).encode() + b"\n")
    os.close(output)
    assert fleet.ignored_settings() == {"CHAT_BATCH_WINDOW_MS": "no wait"}
    await fleet.stop()


async def test_supervision_continues_after_an_error(
    build: Start, spec: Spec, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet_web.supervise.FIRST_SECONDS", 0.0)
    runs: list[str] = []
    steady = asyncio.Event()

    async def keep(service: Service) -> None:
        runs.append(service.name)
        if runs.count("acme/a") == 1 and service.name == "acme/a":
            raise OSError(errno.ENOSPC, "No space left on device")
        if runs.count("acme/a") == 2:
            steady.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Service, "keep", keep)
    fleet = build(spec("acme/a"), spec("acme/b"))
    await fleet.start()
    keeping = asyncio.create_task(fleet.keep())
    await asyncio.wait_for(steady.wait(), 30)
    assert sorted(runs) == ["acme/a", "acme/a", "acme/b", "router"]
    assert "supervision of acme/a failed" in screen.getvalue()
    keeping.cancel()
    await asyncio.wait((keeping,))
    await fleet.stop()
