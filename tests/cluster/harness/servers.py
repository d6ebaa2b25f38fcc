"""What runs in pods of this node: its metrics, and how to kill it; tests of traffic ask."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from harness.api import Json
from harness.fleet import is_ready
from support import waiting


def metric(pod: Json, name: str, label: str = "") -> float:
    """The sum of a metric's series in a pod, of those with a label such as `code="200"`."""
    url = f"http://{pod['status']['podIP']}:{_metrics_port(pod)}/metrics"
    lines = httpx.get(url, timeout=30, trust_env=False).text.splitlines()
    series = [line for line in lines if line.startswith(f"{name}{{") and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in series)


def total(pods: list[Json], name: str, label: str = "") -> float:
    """The same of several pods."""
    return sum(metric(pod, name, label) for pod in pods)


def busy(pod: Json) -> None:
    """Until its server works on a request."""
    waiting.until(lambda: metric(pod, "modelfleet_in_flight"), seconds=60)


def restarted(pod: Json | None) -> bool:
    """Whether it is ready, and not for the first time."""
    if pod is None or not is_ready(pod):
        return False
    return any(one["restartCount"] for one in pod["status"].get("containerStatuses", []))


def kill(pod: Json) -> None:
    """SIGKILL for the server in a pod of this node: no drain, no farewell."""
    uid, killed = pod["metadata"]["uid"], 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            inside = uid in (folder / "cgroup").read_text()
            server = b"modelfleet" in (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if inside and server:
            os.kill(int(folder.name), signal.SIGKILL)
            killed += 1
    assert killed, f"no process of {pod['metadata']['name']} was found"


def _metrics_port(pod: Json) -> int:
    """The port named `metrics`, which routers have, else that of the server."""
    ports = {one.get("name"): one["containerPort"]
             for one in pod["spec"]["containers"][0].get("ports", ())}  # fmt: skip
    return int(ports.get("metrics", 8000))
