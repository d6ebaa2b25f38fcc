"""When a pod of the real node came how far: by the API's watch and by the kernel's clock.

Kubernetes' own times are whole seconds. Moments here are seconds since boot, as `now` gives them
and as the kernel notes the start of every process.
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
"""What the sandbox of the harness runs (`archive`), and what a model's server is called by."""


def now() -> float:
    """Seconds since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WakeTimes:
    """Watches the pods of a namespace while the `with` block lasts."""

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

    def stages(self, pod: Json, asked: float, answered: float) -> dict[str, float]:
        """Seconds by stage, from a request to its answer by a server in `pod`."""
        seen, uid = self._seen[pod["metadata"]["uid"]], pod["metadata"]["uid"]
        sandbox, server = started(uid, PAUSE), started(uid, SERVER)
        url = f"http://{pod['status']['podIP']}:8000/readyz"
        told = httpx.get(url, timeout=10, trust_env=False).json()["stages"]
        total, own = told.pop("total"), dict(told)
        own.pop("import", None)
        return {
            "wake": seen["created"] - asked,
            "schedule": seen["scheduled"] - seen["created"],
            "sandbox": sandbox - seen["scheduled"],
            "container": server - sandbox,
            **own,
            "route": answered - (server + total),
            "all": answered - asked,
        }

    def _watch(self) -> None:
        while not self._stop.is_set():
            for _, pod in self._api.watch(self._path, timeout=1):
                seen = self._seen.setdefault(pod["metadata"]["uid"], {"created": now()})
                if pod["spec"].get("nodeName"):
                    seen.setdefault("scheduled", now())


def started(uid: str, program: bytes) -> float:
    """When the first process of a pod that runs `program` was started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            inside = uid in (folder / "cgroup").read_text()
            if inside and program in (folder / "cmdline").read_bytes():
                stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                found.append(int(stat[19]) / TICKS)
        except OSError:
            continue
    assert found, f"no process {program!r} of pod {uid} was found"
    return min(found)
