"""Measures the stages of a cold start of a pod, with the API's watch and the kernel's clock.

Kubernetes' timestamps have a resolution of one second. Times here are seconds since boot, like
`now()` and the start times of processes in /proc.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Self

import httpx

from harness.api import Api, Json
from harness.tenant import Tenant

TICKS = os.sysconf("SC_CLK_TCK")
PAUSE, SERVER = b"sleep\0infinity", b"modelfleet"
"""Parts of the command lines of the harness's sandbox (`archive`) and of a model server."""


def now() -> float:
    """Seconds since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WakeTimes:
    """Watches the pods of a namespace while the `with` block runs."""

    def __init__(self, tenant: Tenant) -> None:
        self._api = Api(tenant.api.kubeconfig)
        self._path = self._api.path("v1", "Pod", tenant.namespace)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="wake times")
        self._seen: dict[str, dict[str, float]] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._api.__exit__()

    def stages(self, pod: Json, sent: float, received: float) -> dict[str, float]:
        """Seconds by stage, from a request to its response by the server in `pod`."""
        seen, uid = self._seen[pod["metadata"]["uid"]], pod["metadata"]["uid"]
        sandbox, server = started(uid, PAUSE), started(uid, SERVER)
        url = f"http://{pod['status']['podIP']}:8000/readyz"
        startup = httpx.get(url, timeout=60, trust_env=False).json()["stages"]
        total, own = startup.pop("total"), dict(startup)
        own.pop("import", None)
        return {
            "wake": seen["created"] - sent,
            "schedule": seen["scheduled"] - seen["created"],
            "sandbox": sandbox - seen["scheduled"],
            "container": server - sandbox,
            **own,
            "route": received - (server + total),
            "all": received - sent,
        }

    def _watch(self) -> None:
        while not self._stop.is_set():
            for _, pod in self._api.watch(self._path, timeout=1):
                seen = self._seen.setdefault(pod["metadata"]["uid"], {"created": now()})
                if pod["spec"].get("nodeName"):
                    seen.setdefault("scheduled", now())


def started(uid: str, program: bytes) -> float:
    """Start time of the first process of a pod that runs `program`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            in_pod = uid in (folder / "cgroup").read_text()
            if in_pod and program in (folder / "cmdline").read_bytes():
                stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                found.append(int(stat[19]) / TICKS)
        except OSError:
            continue
    assert found, f"no process {program!r} of pod {uid} was found"
    return min(found)
