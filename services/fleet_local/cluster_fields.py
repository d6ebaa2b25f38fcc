"""Fields of a spec that need a cluster: which are ignored, and which are refused.

Manifests are the same for both. Fields that place and scale pods are reported and ignored; fields
that change responses are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic.alias_generators import to_camel

from fleet_contract.spec import ModelSpec
from fleet_local.errors import StartError

IGNORED = (
    "target_in_flight", "scale_down_delay", "profile",
    "image", "resources", "node_selector", "tolerations", "affinity", "priority_class_name",
    "runtime_class_name", "scheduler_name", "devices", "pod_template", "rollout",
    "inference_pool", "container", "prewarm",
)  # fmt: skip


def ignored(spec: ModelSpec, known: ModelSpec | None = None) -> list[str]:
    """Fields that are set and have no effect here, in camelCase; values of `known`, the model's
    catalog entry, do not count."""
    unset = known or ModelSpec(model=spec.model)
    default = ModelSpec(model=spec.model)
    named = [
        to_camel(name)
        for name in IGNORED
        if getattr(spec, name) not in (getattr(unset, name), getattr(default, name))
    ]
    if spec.traffic is not None and spec.traffic.rise is not None:
        named.append("traffic.rise")
    return named


def notice(specs: Sequence[ModelSpec], catalog: Mapping[str, ModelSpec]) -> str | None:
    """A line that lists the ignored fields of all models, or None."""
    found = [(spec.model, ignored(spec, catalog.get(spec.model))) for spec in specs]
    named = [f"{model} ({', '.join(fields)})" for model, fields in found if fields]
    return f"Ignored without a cluster: {'; '.join(named)}." if named else None


def check(spec: ModelSpec) -> None:
    """Raises StartError for a model that only a cluster can serve as specified."""
    if spec.is_foreign:
        raise StartError(
            f"{spec.model} runs in a container (engine {spec.engine.value}).",
            "`modelfleet up` runs processes only; serve it on a cluster, or start its image"
            " yourself and name its address with engine: remote.",
        )
    if spec.env_from or len(spec.plain_env) < len(spec.env):
        raise StartError(
            f"{spec.model} reads environment variables from Secrets or ConfigMaps.",
            "Set the variables in the environment of `modelfleet up` and leave `envFrom` and"
            " `valueFrom` out, or serve it on a cluster.",
        )
    if spec.s3 is not None and spec.s3.secret_ref is not None:
        raise StartError(
            f"{spec.model} reads the keys of its bucket from the Secret {spec.s3.secret_ref.name}.",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment and leave"
            " `s3.secretRef` out, or serve it on a cluster.",
        )
    if spec.files:
        paths = ", ".join(file.path for file in spec.files)
        raise StartError(
            f"{spec.model} needs files at fixed paths of a container ({paths}).",
            "Put them on this machine and leave `files` out, or serve it on a cluster.",
        )
