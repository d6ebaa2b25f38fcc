"""Fields of a spec that only a cluster can honour: which are ignored here, and which are refused.

Manifests are the same for both, so what only says how pods are placed and scaled is named and left
aside. What a server would answer differently without is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic.alias_generators import to_camel

from fleet_contract.spec import Engine, ModelSpec
from fleet_local.errors import StartError

IGNORED = (
    "max_replicas", "scale_to_zero_after", "target_in_flight", "scale_down_delay", "profile",
    "image", "resources", "node_selector", "tolerations", "affinity", "priority_class_name",
    "runtime_class_name", "pod_template",
)  # fmt: skip
IN_CONTAINERS = (Engine.VLLM, Engine.CONTAINER)


def ignored(spec: ModelSpec, known: ModelSpec | None = None) -> list[str]:
    """Fields with a value of their own that have no effect here, as they are written in a manifest;
    what the model's entry in the catalog says is not named."""
    unset = known or ModelSpec(model=spec.model)
    default = ModelSpec(model=spec.model)
    return [
        to_camel(name)
        for name in IGNORED
        if getattr(spec, name) not in (getattr(unset, name), getattr(default, name))
    ]


def notice(specs: Sequence[ModelSpec], catalog: Mapping[str, ModelSpec]) -> str | None:
    """One line that names what is ignored, or None."""
    found = [(spec.model, ignored(spec, catalog.get(spec.model))) for spec in specs]
    named = [f"{model} ({', '.join(fields)})" for model, fields in found if fields]
    return f"Only a cluster honours: {'; '.join(named)}." if named else None


def check(spec: ModelSpec) -> None:
    """Raises StartError for a model that would not be the same without a cluster."""
    if spec.engine in IN_CONTAINERS:
        raise StartError(
            f"{spec.model} runs in a container (engine {spec.engine.value}).",
            "`modelfleet up` runs processes only; serve it on a cluster, or start its image"
            " yourself and name its address with engine: remote.",
        )
    if spec.files:
        paths = ", ".join(file.path for file in spec.files)
        raise StartError(
            f"{spec.model} wants files at fixed places of a container ({paths}).",
            "Put them on this machine and leave `files` out, or serve it on a cluster.",
        )
