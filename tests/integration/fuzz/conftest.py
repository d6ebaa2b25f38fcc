"""The real apps and a router in front of them, as processes with readable memory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import psutil
import pytest

from integration.fuzz import raw_http
from integration.fuzz.processes import ENVIRON, check_no_traceback, running
from support.ports import free_port
from support.waiting import until

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "30"))
"""Examples for each test; a thousand take some minutes."""
KEPT = 400
"""Number of requests that are kept to be sent again."""

hypothesis.settings.register_profile(
    "fuzz", max_examples=EXAMPLES, deadline=None, database=None,
    # The same requests in every run, unless more are requested.
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)  # fmt: skip
fuzz_settings = hypothesis.settings.get_profile("fuzz")


@dataclass
class Fuzzed:
    """Ports of the apps by task, the router's port, and the processes."""

    ports: dict[str, int]
    router: int
    processes: dict[str, psutil.Process]
    sent: list[tuple[int, bytes]] = field(default_factory=list)

    def port(self, target: str, task: str) -> int:
        """Port of the app itself, or of the router in front of it."""
        return self.router if target == "router" else self.ports[task]

    def send(self, port: int, raw: bytes, **options: Any) -> raw_http.Answer | None:
        """Send with `raw_http.exchange` and keep some of the requests."""
        if len(self.sent) < KEPT and len(raw) < 300_000:
            self.sent.append((port, raw))
        return raw_http.exchange(port, raw, **options)

    def memory(self) -> dict[str, int]:
        """Resident bytes of each process."""
        return {name: one.memory_info().rss for name, one in self.processes.items()}


@pytest.fixture(scope="session")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    folder = tmp_path_factory.mktemp("fuzz")
    with running(folder) as (entries, servers), (folder / "router-log").open("wb") as log:
        routes = folder / "routes.json"
        models = [
            {"spec": spec, "endpoints": [{"name": task, "url": f"http://127.0.0.1:{port}"}]}
            for task, (spec, port) in entries.items()
        ]
        routes.write_text(json.dumps({"models": models}))
        port = free_port()
        router = subprocess.Popen(
            [sys.executable, "-m", "fleet_router", "--routes", str(routes), "--port", str(port)],
            stderr=log, env=ENVIRON | {"READ_TIMEOUT": "1", "LOG_LEVEL": "WARNING"},
        )  # fmt: skip
        try:
            wait_for_port(port, router)
            ports = {task: number for task, (_, number) in entries.items()}
            yield Fuzzed(
                ports, port,
                {"servers": psutil.Process(servers.pid), "router": psutil.Process(router.pid)},
            )  # fmt: skip
            assert router.poll() is None, "the router died"
            check_no_traceback(folder / "router-log")
        finally:
            router.terminate()
            router.wait(120)


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens on `port`."""

    def listens() -> bool:
        assert process.poll() is None, "the process ended"
        try:
            socket.create_connection(("127.0.0.1", port), 30).close()
        except OSError:
            return False
        return True

    until(listens)


@pytest.fixture(scope="session")
def settings() -> Callable[[Any], Any]:
    """Decorator with the hypothesis settings."""
    return fuzz_settings
