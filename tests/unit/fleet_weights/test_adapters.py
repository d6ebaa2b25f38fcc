"""The weights of LoRA adapters and draft models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_weights.adapters import adapter_specs, companions, draft_spec
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import fetch
from fleet_weights.store import Store


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"source": "https://h.example/a.gguf"}, "no sha256"),
        ({"source": "https://h.example/a.bin", "sha256": "0" * 64}, "Modelfleet does not load"),
        ({"source": "file://FOLDER/a.gguf", "sha256": "0" * 64}, "0" * 64),
    ],
)
def test_they_are_checked_like_those_of_models(
    tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    (tmp_path / "a.gguf").write_bytes(b"numbers")
    source = fields["source"].replace("FOLDER", str(tmp_path))
    spec = ModelSpec.model_validate(
        {"model": "m", "adapters": [{"name": "sql", **fields, "source": source}]}
    )
    [(name, adapter)] = adapter_specs(spec)
    assert (name, adapter.model) == ("sql", "m:sql")
    with pytest.raises(WeightsError, match=words):
        fetch(adapter, Store(tmp_path / "models"))


def test_companions_are_adapters_and_the_draft_model() -> None:
    spec = ModelSpec.model_validate({
        "model": "m", "adapters": [{"name": "sql", "source": "file:///sql.gguf"}],
        "speculative": {"draft": {"source": "file:///small.gguf"}},
    })  # fmt: skip
    found = [(each.model, each.source) for each in companions(spec)]
    assert found == [("m:sql", "file:///sql.gguf"), ("m:draft", "file:///small.gguf")]
    assert draft_spec(spec) == companions(spec)[1]
    assert companions(ModelSpec(model="m")) == []
    assert draft_spec(ModelSpec(model="m")) is None
