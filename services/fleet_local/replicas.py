"""How many servers a model gets on this machine, and which GPU or share of the CPUs each has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleet_contract.spec import ModelSpec
from fleet_local.errors import StartError

MOST = 64
"""Servers of one model."""
ON_CUDA = ("auto", "cuda")
VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = "MODELFLEET_THREADS"


def number(spec: ModelSpec) -> int:
    """Servers of a model: `replicas`, within `minReplicas` and `maxReplicas`; nothing scales them
    here, and 0 is a model that is known but stopped. Raises StartError beyond MOST."""
    if spec.remote is not None or spec.replicas == 0:
        return 0
    asked = 1 if spec.replicas is None else spec.replicas
    wanted = max(spec.min_replicas or 1, min(asked, spec.max_replicas or asked))
    if wanted > MOST:
        raise StartError(
            f"{spec.model} asks for {wanted} servers; at most {MOST} run on one machine.",
            "Lower `replicas`.",
        )
    return wanted


def gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """What CUDA_VISIBLE_DEVICES names, else the numbers of the NVIDIA GPUs the driver shows.

    Needs no torch: the device files `/dev/nvidia0` and so on are counted.
    """
    if VISIBLE in environ:
        named = [each.strip() for each in environ[VISIBLE].split(",")]
        return [each for each in named if each and each != "-1"]
    numbers = [re.fullmatch(r"nvidia([0-9]+)", path.name) for path in devices.glob("nvidia*")]
    return [str(each) for each in sorted(int(found[1]) for found in numbers if found)]


def shares(
    servers: int, device: str, visible: Sequence[str], cpus: int, environ: Mapping[str, str]
) -> list[dict[str, str]]:
    """Variables of each server of a model.

    Several servers get a GPU each, in turn, where there are several and the device is left open;
    otherwise an equal share of the CPUs, unless MODELFLEET_THREADS is set.
    """
    if servers < 2:
        return [{}] * servers
    if device in ON_CUDA and len(visible) > 1:
        return [{VISIBLE: visible[at % len(visible)]} for at in range(servers)]
    if device in ("auto", "cpu") and not visible and not environ.get(THREADS, "").strip():
        return [{THREADS: str(max(1, cpus // servers))}] * servers
    return [{}] * servers
