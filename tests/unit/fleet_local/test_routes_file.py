"""The routes file, read back by the router's own parser."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_contract.spec import ModelSpec
from fleet_contract.status import Phase
from fleet_local import routes_file
from fleet_local.routes_file import RouteEntry, Start
from fleet_router.routing.file_source import FileSource
from fleet_router.routing.table import LiveRoutes

Spec = Callable[..., ModelSpec]


def test_the_router_reads_what_is_written(tmp_path: Path, spec: Spec) -> None:
    path = tmp_path / "8000" / "routes.json"
    first = spec(aliases=["chat"], limits={"maxBodyBytes": 10})
    several = {"b-1": "http://[::1]:2", "b-2": "http://[::1]:3"}
    asleep = RouteEntry(
        spec("c"), {}, Phase.SCALED_TO_ZERO, "no memory",
        Start(2.5, "fetching weights 42 %, 18 s", 20.5),
    )  # fmt: skip
    entries = [RouteEntry(first, {"acme--chat": "http://127.0.0.1:1"}),
               RouteEntry(spec("b"), several), asleep]  # fmt: skip
    routes_file.write(path, entries, 7)
    routes = LiveRoutes()
    source = FileSource(path, routes, {})
    source.load()
    assert source.version == 7
    table = routes.table
    assert table is not None
    assert [route.spec for route in table.routes] == [first, spec("b"), spec("c")]
    assert [(e.name, e.host, e.port) for route in table.routes for e in route.endpoints] == [
        ("acme--chat", "127.0.0.1", 1), ("b-1", "::1", 2), ("b-2", "::1", 3),
    ]  # fmt: skip
    last = table.routes[2]
    assert (last.phase, last.reason, last.cold_seconds, last.progress) == (
        Phase.SCALED_TO_ZERO, "no memory", 2.5, "fetching weights 42 %, 18 s",
    )  # fmt: skip
    assert last.seconds_left == 20.5


def test_the_file_is_replaced_atomically(tmp_path: Path, spec: Spec) -> None:
    path = tmp_path / "routes.json"
    servers = {"a": "http://127.0.0.1:1"}
    specs = [RouteEntry(spec(f"acme/{number}"), servers) for number in range(50)]
    routes_file.write(path, specs)
    done = threading.Event()

    def rewrite() -> None:
        for length in range(50, 0, -1):
            routes_file.write(path, specs[:length])
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    reads = 0
    while not done.is_set():
        assert json.loads(path.read_text())["models"]
        reads += 1
    writer.join()
    assert reads
    assert [entry.name for entry in tmp_path.iterdir()] == ["routes.json"]


@pytest.mark.parametrize(
    ("model", "count", "names"),
    [
        ("BAAI/bge-m3", 1, ["BAAI--bge-m3"]),
        ("a/b:c/d", 1, ["a--b-c--d"]),
        ("acme/x", 2, ["acme--x-1", "acme--x-2"]),
    ],
)
def test_names_of_servers_are_valid_file_names(model: str, count: int, names: list[str]) -> None:
    assert routes_file.server_names(model, count) == names
