"""The server's container: image, command, environment, probes, resources, security context."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from fleet_contract import accelerators, launch
from fleet_contract.names import ENV_SPEC, PATH_LIVE, PATH_READY, PVC_MOUNT, SERVER_PORT
from fleet_contract.pod.container import EnvValue
from fleet_contract.spec import Engine, ModelSpec
from fleet_operator.names import MODELS_MOUNT, PORT_NAME, SERVER_COMMAND, SERVER_CONTAINER
from fleet_operator.resources.pod_parts import image_source, node_cache
from fleet_operator.resources.volumes import Storage
from fleet_operator.settings import OperatorSettings

Object = dict[str, Any]

ENDPOINT_SECONDS = 3
"""Time between the removal of a pod from the endpoints and SIGTERM, for routers to notice."""
OPEN_SECONDS = 120
"""Time for a server to open its port, which it does before it loads its model."""
UNUSED_BY_SERVERS = (
    "replicas", "stopped", "min_replicas", "max_replicas", "scale_to_zero_after", "priority",
    "yields_after", "wake_at", "prewarm", "target_in_flight", "scale_down_delay", "routing",
    "rollout", "traffic", "inference_pool", "fallback", "price", "profile", "image", "resources",
    "node_selector", "tolerations", "affinity", "priority_class_name", "runtime_class_name",
    "scheduler_name", "devices", "env", "env_from", "files", "pod_template", "remote", "container",
)  # fmt: skip
"""Fields servers do not use; left in, a change of one would restart every server."""
SECURITY: Object = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
OWN_SECURITY: Object = {**SECURITY, "readOnlyRootFilesystem": True}
"""Of containers with our own images."""
UNSET = {name: getattr(ModelSpec(model="any"), name) for name in UNUSED_BY_SERVERS}


def server_container(
    spec: ModelSpec,
    image: str,
    storage: Storage,
    secrets: Sequence[Object],
    settings: OperatorSettings,
) -> Object:
    """The container that serves `spec`; `secrets` are its variables from Secrets for downloads."""
    port = container_port(spec)
    own = not spec.is_foreign
    container: Object = {
        "name": SERVER_CONTAINER,
        "image": image,
        "imagePullPolicy": settings.pull_policy,
        **_command(spec, settings.server_host),
        "env": [*_environment(spec, own, storage, settings), *secrets],
        "ports": [{"name": PORT_NAME, "containerPort": port, "protocol": "TCP"}],
        **(_own_probes() if own else _foreign_probes(spec, settings)),
        "lifecycle": {"preStop": {"sleep": {"seconds": ENDPOINT_SECONDS}}},
        # The last lines of the log have the reason of a failed start.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": OWN_SECURITY if own else SECURITY,
        "volumeMounts": list(storage.mounts),
    }
    if spec.env_from:
        container["envFrom"] = [source.to_wire() for source in spec.env_from]
    if resources := spec.resources.to_wire():
        container["resources"] = resources
    return container


def drain_seconds(spec: ModelSpec, settings: OperatorSettings) -> int:
    """Seconds running requests have when a server is stopped: as long as one may take."""
    return max(settings.drain_seconds, ceil(spec.limits.request_timeout))


def container_port(spec: ModelSpec) -> int:
    """Port the server listens on."""
    if spec.is_foreign and spec.container is not None:
        return spec.container.port
    return SERVER_PORT


def server_spec(spec: ModelSpec) -> ModelSpec:
    """`spec` without fields that only operator and router use, with the device it requests."""
    kept = spec.bucket
    store = kept.model_copy(update={"secret_ref": None}) if kept is not None else None
    changed = {**UNSET, "device": accelerators.device(spec), "s3": store}
    return spec.model_copy(update=changed)


def _command(spec: ModelSpec, host: str) -> Object:
    listen = ["--host", host, "--port", str(container_port(spec))]
    extra = list(spec.container.args) if spec.container is not None else []
    if spec.engine is Engine.CONTAINER:
        return {"args": extra} if extra else {}
    if spec.engine is Engine.VLLM and spec.is_foreign:
        served = ["--served-model-name", *spec.ids, *vllm_adapters(spec)]
        return {"command": ["vllm", "serve"],
                "args": [*vllm_source(spec), *served, *listen, *extra]}  # fmt: skip
    return {"command": list(SERVER_COMMAND), "args": listen}


def vllm_source(spec: ModelSpec) -> list[str]:
    """The model argument of `vllm serve`: a hub id with its revision, or a path."""
    return _place(spec.source or f"hf://{spec.model}")


def _place(source: str) -> list[str]:
    if source.startswith("pvc://"):
        return [f"{PVC_MOUNT}/{source.removeprefix('pvc://').partition('/')[2]}"]
    if source.startswith(image_source.SCHEME):
        return [image_source.path(source)]
    if source.startswith("hf://"):
        repository, _, revision = source.removeprefix("hf://").partition("@")
        return [repository, *(["--revision", revision] if revision else [])]
    return [urlsplit(source).path if source.startswith("file://") else source]


def vllm_adapters(spec: ModelSpec) -> list[str]:
    """The arguments of `vllm serve` for LoRA adapters, by repository or path (`volumes.storage`
    refuses others)."""
    if not spec.adapters:
        return []
    modules = [
        f"{model}={_place(adapter.source)[0]}"
        for model, adapter in zip(spec.adapter_ids, spec.adapters, strict=True)
    ]
    return ["--enable-lora", "--lora-modules", *modules]


def _environment(
    spec: ModelSpec, own: bool, storage: Storage, settings: OperatorSettings
) -> list[Object]:
    values: dict[str, EnvValue] = {"HOME": "/tmp"}  # noqa: S108  (the root is read-only)
    if own:
        values["MODELS_DIR"] = MODELS_MOUNT
        if storage.node_cache is not None:
            values["MODELS_DIR_LIMIT"] = node_cache.limit(storage.node_cache)
        values["DRAIN_TIMEOUT"] = str(drain_seconds(spec, settings))
        values[ENV_SPEC] = _literal(launch.encode(server_spec(spec))[ENV_SPEC])
    else:
        values["HF_HOME"] = MODELS_MOUNT
    values.update(spec.env)
    # Sorted: another order in the spec is not another version.
    return [variable(name, values[name]) for name in sorted(values)]


def _literal(text: str) -> str:
    """`text` as the value of a variable: the kubelet replaces `$(NAME)` and `$$` in it."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def variable(name: str, value: EnvValue) -> Object:
    """A variable of a container."""
    return {"name": name, **({"value": value} if isinstance(value, str) else value.to_wire())}


def _own_probes() -> Object:
    # Every second: the delay until a probe succeeds is part of each cold start.
    return {
        "startupProbe": _probe(PATH_LIVE, period=1, failures=OPEN_SECONDS),
        "readinessProbe": _probe(PATH_READY, period=1, failures=2),
        "livenessProbe": _probe(PATH_LIVE, period=10, failures=3),
    }


def _foreign_probes(spec: ModelSpec, settings: OperatorSettings) -> Object:
    path = spec.container.ready_path if spec.container is not None else "/health"
    # These may open their port only once the model is loaded, so startup has the whole time.
    return {
        "startupProbe": _probe(path, period=5, failures=max(1, settings.start_seconds // 5)),
        "readinessProbe": _probe(path, period=2, failures=2),
        "livenessProbe": _probe(path, period=10, failures=6),
    }


def _probe(path: str, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": PORT_NAME, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 2 if period == 1 else 5,
        "failureThreshold": failures,
    }
