"""A place in the rendered objects, and the values that all pods of the chart have.

A place is `KIND/NAME PATH`: the end of an object's name, and a path of keys separated by blanks, in
which `env:NAME` is an environment variable of the first container, and `yaml` parses a string.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Place(NamedTuple):
    """`found` is what stands there, the value itself by default."""

    at: str
    found: Any = ...


OPERATOR = "Deployment/-operator spec template"
ROUTER = "Deployment/-router spec template"
TEST = "Pod/-test"
PROFILES = "ConfigMap/modelfleet-profiles data"
MODELS = "ConfigMap/modelfleet-models data"
AFFINITY = "nodeAffinity"


def _toleration(key: str) -> list[dict[str, str]]:
    return [{"key": key, "operator": "Exists"}]


def _evicted(values: str) -> list[dict[str, Any]]:
    """Operator and routers leave a lost node after 20 s."""
    return [
        {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute",
         "tolerationSeconds": 20}
        for taint in ("not-ready", "unreachable")
        if values in ("operator", "router")
    ]  # fmt: skip


def _affinity(name: str, *architectures: str) -> dict[str, Any]:
    term: dict[str, Any] = {"matchExpressions": [{"key": name, "operator": "Exists"}]}
    if architectures:
        values = list(architectures)
        arch = {"key": "kubernetes.io/arch", "operator": "In", "values": values}
        term["matchExpressions"].append(arch)
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {AFFINITY: required}


def _resources(number: int) -> dict[str, Any]:
    return {
        "requests": {
            "cpu": f"{number}m",
            "memory": f"{number}Mi",
            "ephemeral-storage": f"{number + 2}Mi",
        },
        "limits": {"cpu": f"{number + 3}m", "memory": f"{number + 1}Mi"},
    }


def placement(values: str, pod: str, name: str, number: int) -> dict[str, tuple[Any, list[Place]]]:
    """The values that all pods of the chart have."""
    return {
        f"{values}.nodeSelector": ({"node": name}, [Place(f"{pod} spec nodeSelector")]),
        f"{values}.tolerations": (
            _toleration(name),
            [Place(f"{pod} spec tolerations", [*_toleration(name), *_evicted(values)])],
        ),
        f"{values}.affinity": (
            _affinity(name),
            [Place(f"{pod} spec affinity", _affinity(name, "arm64"))],
        ),
        f"{values}.priorityClassName": (name, [Place(f"{pod} spec priorityClassName")]),
        f"{values}.resources": (
            _resources(number),
            [Place(f"{pod} spec containers 0 resources")],
        ),
        f"{values}.podSecurityContext": (
            {"fsGroupChangePolicy": name},
            [
                Place(f"{pod} spec securityContext fsGroupChangePolicy", name),
                Place(f"{pod} spec securityContext runAsUser", 1234),
            ],
        ),
        f"{values}.containerSecurityContext": (
            {"readOnlyRootFilesystem": False},
            [
                Place(f"{pod} spec containers 0 securityContext readOnlyRootFilesystem", False),
                Place(f"{pod} spec containers 0 securityContext privileged", False),
            ],
        ),
        f"{values}.podAnnotations": (
            {"note": name},
            [
                Place(f"{pod} metadata annotations note", name),
                Place(f"{pod} metadata annotations owner", "platform"),
            ],
        ),
        f"{values}.podLabels": (
            {"team": name},
            [
                Place(f"{pod} metadata labels team", name),
                Place(f"{pod} metadata labels cost-center", "7"),
            ],
        ),
    }


def component(values: str, pod: str, name: str, number: int) -> dict[str, tuple[Any, list[Place]]]:
    """The values of operator and router."""
    return {
        **placement(values, pod, name, number),
        f"{values}.image": (f"{name}:image", [Place(f"{pod} spec containers 0 image")]),
        f"{values}.extraEnv": (
            [{"name": "HTTPS_PROXY", "value": name}],
            [Place(f"{pod} env:HTTPS_PROXY", name)],
        ),
        f"{values}.extraArgs": (
            ["--extra"],
            [Place(f"{pod} spec containers 0 args -1", "--extra")],
        ),
        f"{values}.extraVolumes": (
            [{"name": "more", "emptyDir": {"sizeLimit": "1Mi"}}],
            [Place(f"{pod} spec volumes -1 name", "more")],
        ),
        f"{values}.extraVolumeMounts": (
            [{"name": "more", "mountPath": "/more"}],
            [Place(f"{pod} spec containers 0 volumeMounts -1 mountPath", "/more")],
        ),
        f"{values}.serviceAccount.annotations": (
            {"role": name},
            [Place(f"ServiceAccount/-{name} metadata annotations role", name)],
        ),
    }
