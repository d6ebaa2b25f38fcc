"""Processes to be measured, on free loopback ports, and a description of the machine."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
SERVICES = str(REPOSITORY / "services")
"""The code to be measured, also in an environment that was made in another checkout."""
sys.path[:0] = [SERVICES, str(REPOSITORY / "tests")]

# ruff: noqa: E402 -- the imports are those of this checkout
from fleet_bench.load import Run, Workload, run
from fleet_bench.settings import BenchSettings
from fleet_contract import catalog
from fleet_contract.launch import encode
from fleet_contract.spec import ModelSpec
from support.ports import free_port

CHAT = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"
SPEECH = "openai/whisper-base"
NEW_TOKENS = 64
START_SECONDS = 600
RELEVANT = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd")

# The processes below then end with a script that is terminated.
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


@dataclass(frozen=True, slots=True)
class Running:
    """The `url` of a running program, and its process group."""

    url: str
    group: int


def spec_of(name: str, **changes: Any) -> ModelSpec:
    """A catalog entry with changed fields in snake case."""
    return catalog.resolve([name], catalog.load())[0].model_copy(update=changes)


def models_root() -> Path:
    """Folder of real weights: MODELS_DIR, else that of the tests."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("MODELS_DIR") or cache / "modelfleet" / "models")


def weights(spec: ModelSpec) -> Path:
    """The folder of a model's weights, fetched if missing."""
    from fleet_weights.fetch import fetch
    from fleet_weights.store import Store

    return fetch(spec, Store(models_root()))


@contextmanager
def process(command: list[str], environ: dict[str, str] | None = None) -> Iterator[int]:
    """Run a child with SERVICES, whose output is printed if it fails; its process id."""
    paths = os.pathsep.join(filter(None, [SERVICES, os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": paths, **(environ or {})}, stdout=log,
            stderr=log, start_new_session=True,
        )  # fmt: skip
        try:
            yield child.pid
        finally:
            ended = child.poll()
            if ended is None:
                os.killpg(child.pid, signal.SIGTERM)
                try:
                    child.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
            elif ended:
                log.seek(0)
                print(log.read()[-4000:], file=sys.stderr)


def get(url: str) -> tuple[int, bytes] | None:
    """Status and body, or None if the connection fails."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return None


def await_status(
    url: str, status: int = 200, seconds: float = START_SECONDS, pid: int | None = None
) -> bytes:
    """Wait until `url` returns `status`, and return the body; not once child `pid` has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = get(url)
        if found is not None and found[0] == status:
            return found[1]
        if pid is not None and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise SystemExit(f"The process of {url} has ended")
        time.sleep(0.01)
    raise SystemExit(f"{url} did not answer with {status} in {seconds:g} s")


@contextmanager
def stub() -> Iterator[Running]:
    """Run a stub server in its own process."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("pipe.py")), str(port)]
    with process(command) as group:
        url = f"http://127.0.0.1:{port}"
        await_status(url)
        yield Running(url, group)


@contextmanager
def server(spec: ModelSpec, settings: dict[str, str] | None = None) -> Iterator[str]:
    """Run a model server with environment variables; its address once it is ready."""
    weights(spec)
    port = free_port()
    environ = encode(spec) | {"MODELS_DIR": str(models_root()), "AUTO_DOWNLOAD_MODELS": "0"}
    environ |= settings or {}
    command = [sys.executable, "-m", "fleet_server", "--port", str(port)]
    with process(command, environ) as pid:
        url = f"http://127.0.0.1:{port}"
        await_status(f"{url}/readyz", pid=pid)
        yield url


@contextmanager
def router(entries: dict[str, ModelSpec]) -> Iterator[str]:
    """Run a router in front of servers with these addresses; its own address."""
    with routing(entries) as running:
        yield running.url


@contextmanager
def routing(
    entries: dict[str, ModelSpec], environ: dict[str, str] | None = None
) -> Iterator[Running]:
    """Run a router in front of servers with these addresses; its address and process."""
    models = [
        {"spec": spec.to_wire(), "endpoints": [{"name": f"m-{number}", "url": url}]}
        for number, (url, spec) in enumerate(entries.items())
    ]
    with tempfile.TemporaryDirectory() as folder:
        routes = Path(folder) / "routes.json"
        routes.write_text(json.dumps({"models": models}))
        port = free_port()
        command = [sys.executable, "-m", "fleet_router", "--routes", str(routes), "--port",
                   str(port)]  # fmt: skip
        with process(command, environ) as group:
            url = f"http://127.0.0.1:{port}"
            await_status(f"{url}/readyz")
            yield Running(url, group)


def plan(url: str, model: str, requests: int, concurrency: int) -> BenchSettings:
    """A closed loop without warm-up."""
    return BenchSettings(url, model, requests, concurrency, warmup=0, rate=None, timeout=600)


class Shifted:
    """A workload with shifted request numbers, so that no run repeats another's requests."""

    def __init__(self, workload: Workload, first: int) -> None:
        self._workload = workload
        self._first = first

    async def send(self, http: Any, number: int) -> Any:
        return await self._workload.send(http, self._first + number)


async def measured(load: BenchSettings, workload: Workload, first: int) -> Run:
    """A run in which all requests succeeded."""
    found = await run(load, Shifted(workload, first))
    bad = {sample.error for sample in found.samples if sample.error}
    if bad:
        raise SystemExit(f"{load.root}: {bad}")
    return found


def machine() -> dict[str, Any]:
    """The machine of the measurement; a `load` above 0.5 before a run makes figures unreliable."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    pairs = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in pairs.items()}
    flags = set(names.get("flags", "").split())
    return {
        "cpu": names.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "features": [name for name in RELEVANT if name in flags],
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def show(title: str, columns: list[str], rows: list[list[Any]], *, as_json: bool) -> None:
    """Print a table, or one JSON object with the machine and the rows."""
    if as_json:
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        print(json.dumps({"title": title, "machine": machine(), "rows": named}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", caption=str(machine()))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row))
    Console().print(table)
