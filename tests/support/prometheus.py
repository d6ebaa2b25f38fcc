"""A real Prometheus that scrapes servers of a test."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from support.ports import free_port
from support.waiting import until

SCRAPE = "1s"


@dataclass(frozen=True)
class Target:
    """A server with /metrics on a port of this machine; `labels` are those that the chart's
    monitors add on a cluster."""

    job: str
    port: int
    labels: dict[str, str]
    honor_labels: bool = False
    key: str = ""


@dataclass(frozen=True)
class Prometheus:
    """Its HTTP API: prometheus.io/docs/prometheus/latest/querying/api."""

    client: httpx.Client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query. Raises AssertionError for an invalid one."""
        answer = self.client.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def label_values(self, metric: str, label: str) -> list[str]:
        """The values of a label of a metric."""
        answer = self.client.get(f"/api/v1/label/{label}/values", params={"match[]": metric})
        assert answer.status_code == 200, answer.text
        values: list[str] = answer.json()["data"]
        return values

    def targets(self) -> dict[str, str]:
        """The last error of each target by its job, "" for none."""
        listed = self.client.get("/api/v1/targets").json()["data"]["activeTargets"]
        return {one["labels"]["job"]: one["lastError"] for one in listed}

    def exemplars(self, selector: str) -> list[dict[str, Any]]:
        """The exemplars of the last minute of a series."""
        now = time.time()
        given: dict[str, Any] = {"query": selector, "start": now - 60, "end": now + 1}
        answer = self.client.get("/api/v1/query_exemplars", params=given)
        return [one for series in answer.json()["data"] for one in series["exemplars"]]


@contextmanager
def prometheus(folder: Path, targets: Sequence[Target]) -> Iterator[Prometheus]:
    """Run it until the block ends, with its data in `folder`."""
    port = free_port()
    config = folder / "prometheus.yaml"
    config.write_text(
        yaml.safe_dump({
            "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE},
            "scrape_configs": [
                {
                    "job_name": one.job,
                    "honor_labels": one.honor_labels,
                    **({"authorization": {"credentials": one.key}} if one.key else {}),
                    "static_configs": [
                        {"targets": [f"127.0.0.1:{one.port}"], "labels": one.labels}
                    ],
                }
                for one in targets
            ],
        })
    )  # fmt: skip
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            until(lambda: _is_ready(client, process, folder / "log"))
            yield Prometheus(client)
    finally:
        process.terminate()
        process.wait(120)


def _is_ready(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
