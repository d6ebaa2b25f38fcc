"""Reads metrics of pods on this node and kills their servers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx

from harness.api import Json
from harness.fleet import is_ready
from support import waiting


def metric(pod: Json, name: str, label: str = "") -> float:
    """Sum of a metric's series in a pod; `label`, such as `code="200"`, selects series."""
    url = f"http://{pod['status']['podIP']}:{_metrics_port(pod)}/metrics"
    lines = httpx.get(url, timeout=60, trust_env=False).text.splitlines()
    series = [line for line in lines if line.startswith(f"{name}{{") and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in series)


def total(pods: list[Json], name: str, label: str = "") -> float:
    """Sum of a metric over several pods."""
    return sum(metric(pod, name, label) for pod in pods)


def wait_until_busy(pod: Json) -> None:
    """Wait until the pod's server processes a request."""
    waiting.until(lambda: metric(pod, "modelfleet_in_flight"))


def restarted(pod: Json | None) -> bool:
    """Whether the pod is ready after a restart."""
    if pod is None or not is_ready(pod):
        return False
    return any(one["restartCount"] for one in pod["status"].get("containerStatuses", []))


def kill(pod: Json) -> None:
    """Send SIGKILL to the server in a pod of this node, so that it does not drain."""
    uid, killed = pod["metadata"]["uid"], 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            in_pod = uid in (folder / "cgroup").read_text()
            server = b"modelfleet" in (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if in_pod and server:
            os.kill(int(folder.name), signal.SIGKILL)
            killed += 1
    assert killed, f"no process of {pod['metadata']['name']} was found"


def _metrics_port(pod: Json) -> int:
    """The port named `metrics`, which routers have, else that of the server."""
    ports = {one.get("name"): one["containerPort"]
             for one in pod["spec"]["containers"][0].get("ports", ())}  # fmt: skip
    return int(ports.get("metrics", 8000))
