"""Resource definitions of third-party kinds that the chart can use, from their Go modules."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from harness import toolchain
from harness.api import Api, Json
from harness.helm import parsed

MONITORING = (
    "github.com/prometheus-operator/prometheus-operator@v0.85.0",
    "example/prometheus-operator-crd",
    ("servicemonitors", "podmonitors", "prometheusrules"),
)
GATEWAY = ("sigs.k8s.io/gateway-api@v1.4.0", "config/crd/standard", ("httproutes",))


def read() -> list[Json]:
    """Read the definitions from Go's module cache; the first call downloads and verifies them."""
    return [
        document
        for module, folder, plurals in (MONITORING, GATEWAY)
        for path in sorted((_source(module) / folder).glob("*.yaml"))
        if any(path.stem.endswith(plural) for plural in plurals)
        for document in parsed(path.read_text())
    ]


def install(api: Api, definitions: list[Json]) -> None:
    """Apply the definitions and wait until they are established."""
    for definition in definitions:
        api.apply(definition)
    for definition in definitions:
        api.wait(
            definition["apiVersion"],
            definition["kind"],
            None,
            definition["metadata"]["name"],
            lambda found: any(
                one["type"] == "Established" and one["status"] == "True"
                for one in (found or {}).get("status", {}).get("conditions") or []
            ),
        )


def _source(module: str) -> Path:
    done = subprocess.run(
        [str(toolchain.go()), "mod", "download", "-json", module],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(Path(__file__).anchor),
    )
    return Path(json.loads(done.stdout)["Dir"])
