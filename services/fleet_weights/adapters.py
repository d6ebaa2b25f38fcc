"""The weights of LoRA adapters, stored like those of models."""

from __future__ import annotations

from collections.abc import Iterator

from fleet_contract.spec import ModelSpec


def adapter_specs(spec: ModelSpec) -> Iterator[tuple[str, ModelSpec]]:
    """Name of each adapter, and a spec whose weights are the adapter's."""
    for adapter, model in zip(spec.adapters, spec.adapter_ids, strict=True):
        yield adapter.name, ModelSpec(model=model, source=adapter.source, sha256=adapter.sha256)
