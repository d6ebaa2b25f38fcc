"""The weights of LoRA adapters and of the draft model, stored like those of models."""

from __future__ import annotations

from collections.abc import Iterator

from fleet_contract.spec import ModelSpec


def adapter_specs(spec: ModelSpec) -> Iterator[tuple[str, ModelSpec]]:
    """Name of each adapter, and a spec whose weights are the adapter's."""
    for adapter, model in zip(spec.adapters, spec.adapter_ids, strict=True):
        yield adapter.name, ModelSpec(model=model, source=adapter.source, sha256=adapter.sha256)


def draft_spec(spec: ModelSpec) -> ModelSpec | None:
    """A spec whose weights are the draft model's."""
    draft = spec.speculative.draft
    if draft is None:
        return None
    return ModelSpec(model=f"{spec.model}:draft", source=draft.source, sha256=draft.sha256)


def companions(spec: ModelSpec) -> list[ModelSpec]:
    """Specs of all other weights that a model needs: its adapters and its draft model."""
    draft = draft_spec(spec)
    found = [adapter for _, adapter in adapter_specs(spec)]
    return found if draft is None else [*found, draft]
