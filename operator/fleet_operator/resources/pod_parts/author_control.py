"""Fields of an InferenceModel with which its author controls what runs in the server's container.

Code of the author can read all variables of that container, and some variables and name services
decide where its downloads send their credentials. Fields and variables that are not listed here
count as such, so that one that is added later does until it is known. What a profile or the catalog
sets is the platform's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fleet_contract.completion import MANIFEST
from fleet_contract.names import FETCH_SECRETS, GROUP
from fleet_contract.settings import BY_NAME
from fleet_contract.spec import ModelSpec
from fleet_operator.names import SERVER_CONTAINER

FIELDS = ("image", "handler", "files", "envFrom")
VARIABLES = frozenset(
    {name for name, setting in BY_NAME.items() if setting.field is not None}
    | {"AUTO_DOWNLOAD_MODELS", "BODY_TIMEOUT", "CUDA_VISIBLE_DEVICES", "DRAIN_TIMEOUT",
       "ENABLE_METRICS", "HEARTBEAT_SECONDS", "KEEP_ALIVE_SECONDS", "LANG", "LC_ALL", "LOG_FORMAT",
       "LOG_LEVEL", "MKL_NUM_THREADS", "MODELFLEET_THREADS", "OMP_NUM_THREADS",
       "OPENBLAS_NUM_THREADS", "READ_RATE", "READ_TIMEOUT", "TZ"}
    | set(FETCH_SECRETS)
)  # fmt: skip
"""Harmless variables; of the secrets, a model may have its own."""
METADATA_FIELDS = ("labels", "annotations")
OWN_ANNOTATION = f"podTemplate.metadata.annotations.{GROUP}/"
"""Such annotations are files of the server's container."""
POD_FIELDS = (
    "affinity", "automountServiceAccountToken", "hostname", "imagePullSecrets", "nodeSelector",
    "preemptionPolicy", "priorityClassName", "readinessGates", "resourceClaims", "resources",
    "runtimeClassName", "schedulerName", "schedulingGates", "securityContext", "serviceAccountName",
    "setHostnameAsFQDN", "subdomain", "terminationGracePeriodSeconds", "tolerations",
    "topologySpreadConstraints",
)  # fmt: skip
CONTAINER_FIELDS = (
    "imagePullPolicy", "name", "ports", "resizePolicy", "resources", "securityContext",
    "terminationMessagePolicy",
)  # fmt: skip
"""Harmless fields of the server's container; `env`, probes and hooks are examined."""
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
SERVER_VOLUMES = frozenset({"ca-bundle", "files", "image", "models", "tmp", "weights"})
"""Volumes of the server's container. Its home is in one of them, from which Python loads code."""
EXPANSION = "$("
"""Begins a reference to another variable of the container."""


def author_control(spec: ModelSpec, origins: Mapping[str, str]) -> str | None:
    """The first such field; None if there is none.

    `origins` are those of fleet_contract.completion.
    """
    own = sorted(path for path, layer in origins.items() if layer == MANIFEST)
    for path in own:
        field, _, rest = path.partition(".")
        if field in FIELDS or (field == "env" and _variable(rest) not in VARIABLES):
            return path.removesuffix(".valueFrom")
    for name, value in sorted(spec.env.items()):
        if EXPANSION in str(value) and origins.get(f"env.{name}") == MANIFEST:
            return f"env.{name}"
    template = spec.pod_template or {}
    found = (path for path in own if path.startswith("podTemplate."))
    return next((field for path in found for field in _in_template(path, template)), None)


def _variable(path: str) -> str:
    return path.removesuffix(".valueFrom")


def _in_template(path: str, template: Mapping[str, Any]) -> Iterator[str]:
    """The fields of this kind at `path`, which begins with `podTemplate`."""
    _, part, *rest = path.split(".")
    field = rest[0] if rest else ""
    if part == "metadata" and field in METADATA_FIELDS and not path.startswith(OWN_ANNOTATION):
        return
    pod = template.get("spec") if part == "spec" else None
    if not isinstance(pod, Mapping):
        yield path
        return
    if field in POD_FIELDS:
        return
    items, taken = pod.get(field), SERVER_VOLUMES | _mounted(pod)
    if field == "volumes" and isinstance(items, list):
        for item in items:
            if _name(item) not in taken and _name(item) and "$patch" not in item:
                continue
            if not isinstance(item, Mapping) or set(item) != {"name", "emptyDir"}:
                yield f"podTemplate.spec.volumes[{_name(item)}]"
    elif field in ("containers", "initContainers") and isinstance(items, list):
        for item in items:
            at = f"podTemplate.spec.{field}[{_name(item)}]"
            yield from _in_container(item, taken, at)
    else:
        yield path


def _in_container(container: Any, taken: frozenset[str], at: str) -> Iterator[str]:
    if not _name(container) or "$patch" in container:
        yield at
    elif container["name"] != SERVER_CONTAINER:
        if taken & _names(container.get("volumeMounts")):
            yield f"{at}.volumeMounts"
    else:
        for field, value in container.items():
            if field == "env":
                yield from _in_env(value, at)
            elif field in PROBES or field == "lifecycle":
                if _has_exec(value):
                    yield f"{at}.{field}"
            elif field not in CONTAINER_FIELDS:
                yield f"{at}.{field}"


def _in_env(env: Any, at: str) -> Iterator[str]:
    for one in env if isinstance(env, list) else [env]:
        if _name(one) not in VARIABLES or EXPANSION in str(one):
            yield f"{at}.env[{_name(one)}]"


def _has_exec(handlers: Any) -> bool:
    """Whether a probe or hook, or one of several, runs a command in the container."""
    if not isinstance(handlers, Mapping):
        return False
    return "exec" in handlers or any(map(_has_exec, handlers.values()))


def _mounted(pod: Mapping[str, Any]) -> frozenset[str]:
    """Volumes that the template mounts into the server's container."""
    containers = pod.get("containers")
    found: frozenset[str] = frozenset()
    for one in containers if isinstance(containers, list) else ():
        if _name(one) == SERVER_CONTAINER:
            found |= _names(one.get("volumeMounts"))
    return found


def _names(items: Any) -> frozenset[str]:
    return frozenset(map(_name, items if isinstance(items, list) else ()))


def _name(item: Any) -> str:
    return str(item.get("name", "")) if isinstance(item, Mapping) else ""
