"""`modelfleet install-crd`: apply the custom resource definition of this version to the cluster.

A Job of the chart runs it before an upgrade, since helm never updates an installed definition.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Annotated, Any

import typer

from fleet_contract.crd.definition import definition
from fleet_kube.client import KubeClient
from fleet_kube.connection import connect
from fleet_kube.errors import ApiUnreachable, ConfigError, KubeError
from fleet_kube.kind import Kind

DEFINITION = Kind(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
)
MANAGER = "helm"
"""helm 4 applies what is in crds/ at each install, under its own name; another one here would
conflict with the next install of a newer chart."""
POLL_SECONDS = 0.5

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def install_crd(
    patience: Annotated[float, typer.Option(help="Seconds to retry and wait.")] = 120,
) -> None:
    """Apply the definition of InferenceModel to the configured cluster and wait until it serves."""
    try:
        print(asyncio.run(install(patience)))
    except (ConfigError, KubeError, OSError) as error:
        print(f"modelfleet install-crd: {error}", file=sys.stderr)
        sys.exit(1)


async def install(patience: float) -> str:
    """Apply and wait; returns a line that describes the result.

    An unreachable API server is retried for `patience` seconds. Raises ConfigError, ApiError,
    ApiUnreachable.
    """
    api = KubeClient(await connect(os.environ), MANAGER)
    manifest = definition()
    name, end = manifest["metadata"]["name"], time.monotonic() + patience
    try:
        while True:
            try:
                found = await api.apply(DEFINITION, manifest, force=True)
                while not established(found):
                    await _wait(end, f"{name} is not established: {_problems(found)}")
                    found = await api.get(DEFINITION, None, name) or {}
                return f"{name} is applied, generation {found['metadata']['generation']}"
            except ApiUnreachable as error:
                await _wait(end, str(error))
    finally:
        await api.close()


def established(found: dict[str, Any]) -> bool:
    """Whether the API server serves the current definition."""
    status = {one["type"]: one["status"] for one in _conditions(found)}
    return status.get("Established") == "True" and status.get("NonStructuralSchema") != "True"


def _conditions(found: dict[str, Any]) -> list[dict[str, Any]]:
    return (found.get("status") or {}).get("conditions") or []


def _problems(found: dict[str, Any]) -> str:
    messages = [
        str(one.get("message", "")) for one in _conditions(found) if one["status"] != "True"
    ]
    return "; ".join(messages) or "it has no conditions yet"


async def _wait(end: float, problem: str) -> None:
    """Sleep until the next poll. Raises ApiUnreachable after `end`."""
    if time.monotonic() >= end:
        raise ApiUnreachable(problem)
    await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    app()
