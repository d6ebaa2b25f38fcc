"""How the operator bears many InferenceModels: seconds, memory, API calls, on a real API server.

    python tests/bench/operator_scale.py 100 500 1000

Pods exist in the API only and are ready as soon as they are scheduled (the played kubelet of
tests/cluster), so what is measured is the control plane and the operator on this one machine.
Needs root or `unshare --user --map-root-user`, as the API tier of tests/cluster does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

from harness import leftovers, nodes, operator_process, tiers
from harness.api import Api, Json
from harness.binaries import CONTROL_PLANE, program
from harness.control_plane import ControlPlane
from harness.models import API, KIND, model
from harness.netns import NODE_ADDRESS, Namespace
from harness.operator_process import OperatorProcess
from harness.played_kubelet import PlayedKubelet
from harness.run import Run
from harness.tenant import Tenant

IDLE_SECONDS = 30.0
WRITERS = 4
PODS_OF_A_NODE = 1000
STANDARD = {"RESYNC_INTERVAL": "30", "PROBE_INTERVAL": "1", "AUTOSCALE_INTERVAL": "2"}
"""The defaults, where the tests have shorter ones."""


@dataclass(frozen=True)
class Result:
    """Seconds since the first resource was created, MiB, calls per resource."""

    models: int
    created: float
    children: float
    settled: float
    cpu: float
    memory: float
    calls: float
    idle_percent: float
    idle_writes: int
    restart: float

    HEADER = (
        "| InferenceModels | created | children exist | all Ready | operator CPU | memory "
        "| API calls each | idle CPU | writes when idle | restart to settled |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )

    def row(self) -> str:
        """A row of a markdown table."""
        return (
            f"| {self.models} | {self.created:.1f} s | {self.children:.1f} s "
            f"| {self.settled:.1f} s | {self.cpu:.1f} s | {self.memory:.0f} MiB "
            f"| {self.calls:.2f} | {self.idle_percent:.1f} % | {self.idle_writes} "
            f"| {self.restart:.1f} s |"
        )


def measure(run: Run, plane: ControlPlane, api: Api, number: int) -> Result:
    """One fleet of `number` models in a namespace of its own, with an operator of its own."""
    operator = OperatorProcess(run, plane, api)
    operator.start(**STANDARD)
    process = psutil.Process(operator.pid)
    with Tenant(api, f"scale-{number}") as tenant, PlayedKubelet(api, tenant.namespace):
        began = time.monotonic()
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(tenant.create, (model(f"m-{i}") for i in range(number))))
        created = time.monotonic() - began
        until(lambda: len(tenant.items("v1", "Service")) == number)
        children = time.monotonic() - began
        until(lambda: ready(tenant) == number)
        settled = time.monotonic() - began
        times = process.cpu_times()
        cpu, calls = times.user + times.system, sum(requests(operator).values())
        writes = sum(written(operator).values())
        time.sleep(IDLE_SECONDS)
        after = process.cpu_times()
        idle = (after.user + after.system - cpu) / IDLE_SECONDS * 100
        idle_writes = int(sum(written(operator).values()) - writes)
        memory = process.memory_info().rss / 2**20
        operator.stop()
        began = time.monotonic()
        operator.start(**STANDARD)
        until(lambda: looked(operator) >= number and waiting(operator) == 0)
        restart = time.monotonic() - began
        operator.stop()
        for item in tenant.items(API, KIND):
            api.delete(item)
    return Result(number, created, children, settled, cpu, memory, calls / number, idle,
                  idle_writes, restart)  # fmt: skip


def ready(tenant: Tenant) -> int:
    """Models that say so themselves."""
    phases = [item.get("status", {}).get("phase") for item in tenant.items(API, KIND)]
    return phases.count("Ready")


def requests(operator: OperatorProcess) -> dict[str, float]:
    """The operator's requests to the API server by their labels."""
    return series(operator, "modelfleet_operator_api_calls_total")


def written(operator: OperatorProcess) -> dict[str, float]:
    return {name: n for name, n in requests(operator).items() if 'method="GET"' not in name}


def looked(operator: OperatorProcess) -> float:
    return sum(series(operator, "modelfleet_operator_reconciles_total").values())


def waiting(operator: OperatorProcess) -> float:
    return sum(series(operator, "modelfleet_operator_queue_depth").values())


def series(operator: OperatorProcess, name: str) -> dict[str, float]:
    """Samples of one metric."""
    lines = [line.rpartition(" ") for line in operator.metrics().splitlines()]
    return {key: float(value) for key, _, value in lines if key.partition("{")[0] == name}


def until(holds: Callable[[], bool], timeout: float = 1800) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.5)


def add_nodes(api: Api, number: int) -> list[Json]:
    """Enough nodes for so many pods."""
    names = [f"scale-{i}" for i in range(number // PODS_OF_A_NODE + 1)]
    return [api.create(nodes.node(name, cpu="256", memory="1Ti")) for name in names]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", type=int)
    wanted = parser.parse_args().models
    leftovers.sweep()
    for name in CONTROL_PLANE:
        program(name)
    run, network = Run(), None if tiers.namespace_unavailable() else Namespace()
    address = NODE_ADDRESS if network else None
    plane = ControlPlane(run, "scale", address, "10.97.0.0/16", real_nodes=False)
    try:
        plane.start()
        with Api(plane.kubeconfig) as api:
            operator_process.install(api)
            operator_process.grant(api)
            add_nodes(api, max(wanted))
            print(Result.HEADER, flush=True)
            for number in wanted:
                print(measure(run, plane, api, number).row(), flush=True)
    finally:
        plane.stop()
        if network is not None:
            network.close()
        leftovers.remove(run.folder, keep_folder=True)
        run.close()


if __name__ == "__main__":
    main()
