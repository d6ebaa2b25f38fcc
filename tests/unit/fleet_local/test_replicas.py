"""The number of servers of a model, and their devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_local import replicas
from fleet_local.errors import StartError

Spec = Callable[..., ModelSpec]
ADDRESS = {"engine": "remote", "remote": {"address": "http://a.example"}}


@pytest.mark.parametrize(
    ("fields", "servers"),
    [
        ({}, 1),
        ({"replicas": 0}, 0),
        ({"replicas": 3}, 3),
        ({"replicas": 0, "scaleToZeroAfter": 60}, 1),
        ({"replicas": 0, "yieldsAfter": 0}, 1),
        ({"replicas": 0, "scaleToZeroAfter": 60, "stopped": True}, 0),
        ({"replicas": 0, "minReplicas": 2}, 0),
        ({"minReplicas": 2}, 2),
        ({"minReplicas": 0}, 1),
        ({"replicas": 1, "minReplicas": 2, "maxReplicas": 4}, 2),
        ({"replicas": 5, "maxReplicas": 4}, 4),
        ({"replicas": 3, **ADDRESS}, 0),
    ],
)
def test_number(spec: Spec, fields: dict[str, Any], servers: int) -> None:
    assert replicas.number(spec(**fields)) == servers


def test_too_many_replicas_are_refused(spec: Spec) -> None:
    with pytest.raises(StartError, match="at most 64"):
        replicas.number(spec(replicas=65))


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, ["0", "1", "10"]),
        ({"CUDA_VISIBLE_DEVICES": "2, GPU-8932f937"}, ["2", "GPU-8932f937"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
    ],
)
def test_gpus(tmp_path: Path, environ: dict[str, str], found: list[str]) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert replicas.gpus(environ, tmp_path) == found


def test_no_gpu(tmp_path: Path) -> None:
    assert replicas.gpus({}, tmp_path) == []


GPU = "CUDA_VISIBLE_DEVICES"
SHARES: list[tuple[int, str, list[str], dict[str, str], list[dict[str, str]]]] = [
    (0, "auto", [], {}, []),
    (1, "auto", [], {}, [{}]),
    (1, "auto", ["0", "1"], {}, [{}]),
    (3, "auto", ["4", "7"], {}, [{GPU: "4"}, {GPU: "7"}, {GPU: "4"}]),
    (2, "cuda", ["0", "1"], {}, [{GPU: "0"}, {GPU: "1"}]),
    (2, "cuda:1", ["0", "1"], {}, [{}, {}]),
    (2, "cuda", ["0"], {}, [{}, {}]),
    (2, "cpu", [], {}, [{"MODELFLEET_THREADS": "4"}] * 2),
    (3, "auto", [], {}, [{"MODELFLEET_THREADS": "2"}] * 3),
    (20, "auto", [], {}, [{"MODELFLEET_THREADS": "1"}] * 20),
    (2, "cpu", [], {"MODELFLEET_THREADS": "8"}, [{}, {}]),
]


@pytest.mark.parametrize(("servers", "device", "visible", "environ", "expected"), SHARES)
def test_each_gets_a_gpu_or_a_share_of_the_cpus(
    servers: int, device: str, visible: list[str], environ: dict[str, str],
    expected: list[dict[str, str]],
) -> None:  # fmt: skip
    assert replicas.shares(servers, device, visible, 8, environ) == expected


@pytest.mark.parametrize(
    ("servers", "models", "cpus", "environ", "threads"),
    [
        (1, 2, 8, {}, "4"),
        (1, 9, 8, {}, "4"),
        (1, 3, 1, {}, "1"),
        (4, 2, 8, {}, "2"),
        (1, 2, 8, {"MODELFLEET_THREADS": "8"}, None),
    ],
)
def test_models_of_a_fleet_share_the_cpus(
    servers: int, models: int, cpus: int, environ: dict[str, str], threads: str | None
) -> None:
    expected = {} if threads is None else {"MODELFLEET_THREADS": threads}
    found = replicas.shares(servers, "auto", [], cpus, environ, models=models)
    assert found == [expected] * servers
    assert replicas.shares(servers, "cuda:0", ["0"], cpus, environ, models=models) == [{}] * servers
