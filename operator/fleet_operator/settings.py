"""The operator's settings, read once from the environment."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_contract.policy.remote_keys import RemoteKeys
from fleet_contract.settings import BY_NAME, parse_list
from fleet_operator.rollout_limit import Limit
from fleet_operator.shard import Shard
from fleet_operator.vllm_images import VllmImages

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Times are in seconds; empty strings and tuples stand for unset values."""

    namespaces: tuple[str, ...]
    own_namespace: str
    pod_name: str
    shard: Shard
    id_prefixes: Mapping[str, str]
    image_cpu: str
    image_cuda: str
    image_rocm: str
    image_intel: str
    vllm_images: VllmImages
    pull_policy: str
    pull_secrets: tuple[str, ...]
    image_volumes: bool | None
    inherited_labels: tuple[str, ...]
    inherited_annotations: tuple[str, ...]
    profiles_configmap: str
    models_configmap: str
    catalog: Path | None
    hf_token_secret: str
    service_account: str
    pod_templates: str
    remote_keys: RemoteKeys | None
    """None: unknown to the operator, the routers decide."""
    memory_limit_factor: float
    server_host: str
    """Address that model servers listen on."""
    user_ids: bool
    """Whether pods of own images get user and group ids."""
    architectures: tuple[str, ...]
    """Of own images; empty for all nodes."""
    ca_configmap: str
    ca_key: str
    router_selector: Mapping[str, str]
    router_port: int
    router_namespace: str
    autoscale_interval: float
    scale_down_delay: float
    min_residency: float
    drain_seconds: int
    max_rollouts: Limit
    """That of this shard."""
    max_rollouts_cpu: Limit
    start_seconds: int
    probe_interval: float
    resync_interval: float
    full_resync_interval: float
    api_requests_per_second: float
    workers: int
    port: int
    model_metrics: bool
    log_level: str
    log_format: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> OperatorSettings:
        """Raises ValueError that names the variable at fault."""

        def value(name: str) -> Any:
            return BY_NAME[name].read(environ)

        def text(name: str) -> str:
            return str(BY_NAME[name].read(environ, ""))

        def positive(name: str) -> Any:
            number = value(name)
            if not 0 < number < 1e9:
                raise ValueError(f"{name}={number}: must be greater than 0")
            return number

        shard = Shard.parse(text("SHARD"))

        def limit(name: str) -> Limit:
            try:
                return Limit.parse(value(name)).of_shard(shard.index, shard.total)
            except ValueError as error:
                raise ValueError(f"{name}={error}") from None

        own_namespace = text("POD_NAMESPACE") or account_namespace()
        return cls(
            namespaces=tuple(parse_list(text("WATCH_NAMESPACES"))),
            own_namespace=own_namespace,
            pod_name=text("POD_NAME") or socket.gethostname(),
            shard=shard,
            id_prefixes=value("ID_PREFIXES"),
            image_cpu=value("SERVER_IMAGE_CPU"),
            image_cuda=text("SERVER_IMAGE_CUDA"),
            image_rocm=text("SERVER_IMAGE_ROCM"),
            image_intel=text("SERVER_IMAGE_INTEL"),
            vllm_images=VllmImages(
                own=text("SERVER_IMAGE_VLLM"),
                vllm=text("VLLM_IMAGE"),
                rocm=text("VLLM_IMAGE_ROCM"),
                intel=text("VLLM_IMAGE_INTEL"),
            ),
            pull_policy=value("IMAGE_PULL_POLICY"),
            pull_secrets=tuple(parse_list(text("IMAGE_PULL_SECRETS"))),
            image_volumes=value("IMAGE_VOLUMES"),
            inherited_labels=tuple(value("INHERITED_LABELS")),
            inherited_annotations=tuple(value("INHERITED_ANNOTATIONS")),
            profiles_configmap=value("PROFILES_CONFIGMAP"),
            models_configmap=value("MODELS_CONFIGMAP"),
            catalog=Path(named) if (named := text("CATALOG")) else None,
            hf_token_secret=text("HF_TOKEN_SECRET"),
            service_account=text("SERVER_SERVICE_ACCOUNT"),
            pod_templates=value("POD_TEMPLATES"),
            remote_keys=BY_NAME["REMOTE_KEYS"].read(environ, None),
            memory_limit_factor=_factor(value("MEMORY_LIMIT_FACTOR")),
            server_host="::" if ":" in text("POD_IP") else "0.0.0.0",  # noqa: S104
            user_ids=value("SERVER_USER_IDS"),
            architectures=tuple(parse_list(text("SERVER_ARCHITECTURES"))),
            ca_configmap=text("CA_BUNDLE_CONFIGMAP"),
            ca_key=value("CA_BUNDLE_KEY"),
            router_selector=labels("ROUTER_SELECTOR", value("ROUTER_SELECTOR")),
            router_port=positive("ROUTER_PORT"),
            router_namespace=text("ROUTER_NAMESPACE") or own_namespace,
            autoscale_interval=positive("AUTOSCALE_INTERVAL"),
            scale_down_delay=value("SCALE_DOWN_DELAY"),
            min_residency=value("MIN_RESIDENCY"),
            drain_seconds=positive("POD_DRAIN_SECONDS"),
            max_rollouts=limit("MAX_ROLLOUTS"),
            max_rollouts_cpu=limit("MAX_ROLLOUTS_CPU"),
            start_seconds=positive("START_SECONDS"),
            probe_interval=positive("PROBE_INTERVAL"),
            resync_interval=positive("RESYNC_INTERVAL"),
            full_resync_interval=positive("FULL_RESYNC_INTERVAL"),
            api_requests_per_second=positive("API_REQUESTS_PER_SECOND"),
            workers=positive("WORKERS"),
            port=positive("OPERATOR_PORT"),
            model_metrics=value("MODEL_METRICS"),
            log_level=value("LOG_LEVEL"),
            log_format=value("LOG_FORMAT"),
        )


def _factor(number: float) -> float:
    if number == 0 or 1 <= number <= 100:
        return number
    raise ValueError(f"MEMORY_LIMIT_FACTOR={number}: must be 0, or 1 to 100")


def labels(name: str, text: str) -> dict[str, str]:
    """Labels of `key=value,key=value`. Raises ValueError that names the variable `name`."""
    pairs = [part.partition("=") for part in parse_list(text)]
    if not pairs or any(not key or not sign for key, sign, _ in pairs):
        raise ValueError(f"{name}={text!r}: must be key=value, comma-separated")
    return {key.strip(): value.strip() for key, _, value in pairs}


def account_namespace(folder: Path = SERVICE_ACCOUNT) -> str:
    """Namespace of the operator's pod; `default` outside of a cluster."""
    try:
        return (folder / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        return "default"
