"""The number of servers of a model on this machine, and the GPU or share of the CPUs of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleet_contract.api.control import MOST_SERVERS
from fleet_contract.spec import ModelSpec
from fleet_local.errors import StartError

ON_CUDA = ("auto", "cuda")
VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = "MODELFLEET_THREADS"
CONCURRENT_MODELS = 2
"""Models of a fleet that are expected to compute at the same time."""


def number(spec: ModelSpec) -> int:
    """Servers of a model: `replicas`, within `minReplicas` and `maxReplicas`, without scaling.

    0 is a model that is listed and stopped. `replicas: 0` starts at its first request if the model
    comes and goes with its requests; else nothing would start it later. Raises StartError above
    MOST_SERVERS.
    """
    if spec.remote is not None or spec.stopped:
        return 0
    if spec.replicas == 0 and not spec.is_on_demand:
        return 0
    requested = spec.replicas or 1
    wanted = max(spec.min_replicas or 1, min(requested, spec.max_replicas or requested))
    if wanted > MOST_SERVERS:
        raise StartError(
            f"{spec.model}: {wanted} replicas; at most {MOST_SERVERS} run on one machine.",
            "Lower `replicas`.",
        )
    return wanted


def gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """The GPUs of CUDA_VISIBLE_DEVICES, else the numbers of all NVIDIA GPUs.

    These come from the device files `/dev/nvidia0` and so on, so torch is not needed.
    """
    if VISIBLE in environ:
        named = [each.strip() for each in environ[VISIBLE].split(",")]
        return [each for each in named if each and each != "-1"]
    numbers = [re.fullmatch(r"nvidia([0-9]+)", path.name) for path in devices.glob("nvidia*")]
    return [str(each) for each in sorted(int(found[1]) for found in numbers if found)]


def shares(
    servers: int,
    device: str,
    visible: Sequence[str],
    cpus: int,
    environ: Mapping[str, str],
    *,
    models: int = 1,
) -> list[dict[str, str]]:
    """Environment variables of each server of a model.

    Several servers get one GPU each, round robin, where there are several GPUs and `device` does
    not name one; otherwise an equal share of the CPUs, unless MODELFLEET_THREADS is set. Among
    several `models` each gets half of the CPUs at most: threads of a pass wait for each other, so
    two engines with a thread for each CPU are slower together than with half of them.
    """
    if servers > 1 and device in ON_CUDA and len(visible) > 1:
        return [{VISIBLE: visible[at % len(visible)]} for at in range(servers)]
    parts = max(servers, min(models, CONCURRENT_MODELS))
    on_cpu = device in ("auto", "cpu") and not visible
    if parts < 2 or not on_cpu or environ.get(THREADS, "").strip():
        return [{}] * servers
    return [{THREADS: str(max(1, cpus // parts))}] * servers
