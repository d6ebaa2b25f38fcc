"""`modelfleet explain` for a resource in a real cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from harness.api import Api, Json
from harness.binaries import program
from harness.models import model
from harness.tenant import Tenant

MODELFLEET = "from fleet_cli.main import main; main()"


@pytest.mark.usefixtures("definition")
def test_fields_pod_and_nodes(api: Api, tenant: Tenant, add_node: Callable[..., Json]) -> None:
    add_node("explain-small", cpu="1")
    add_node("explain-large", cpu="64")
    # Without servers, which an operator would start here and which would need the node's CPUs.
    made = model("explained", model="openai/whisper-base", replicas=0,
                 resources={"requests": {"cpu": 40}})  # fmt: skip
    del made["spec"]["source"]
    tenant.create(made)
    done = subprocess.run(
        [sys.executable, "-c", MODELFLEET, "explain", "explained", "-n", tenant.namespace],
        env={
            **os.environ,
            "KUBECONFIG": str(api.kubeconfig),
            "PATH": f"{program('kubectl').parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert ["explain-large", "can run another server now"] in lines
    assert ["explain-small", "has 1 cpu free of the requested 40 cpu"] in lines
    assert "task" in done.stdout
