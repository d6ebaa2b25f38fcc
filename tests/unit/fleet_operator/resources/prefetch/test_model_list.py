"""The list of prefetched models, as `modelfleet pull` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet_contract import catalog, manifests
from fleet_contract.completion import complete
from fleet_contract.spec import ModelSpec
from fleet_operator.resources.prefetch import model_list
from fleet_operator.resources.prefetch.model_list import NO_CATALOG
from fleet_weights.adapters import companions
from fleet_weights.store import folder_name


def listed(text: str, tmp_path: Path) -> dict[str, ModelSpec]:
    file = tmp_path / "catalog.yaml"
    file.write_text(NO_CATALOG)
    known = catalog.load(file)
    return {
        one.name: manifests.complete(one.spec, known).spec for one in manifests.parse(text, "list")
    }


@pytest.mark.parametrize("wire", [
    {"model": "openai/whisper-base"},
    {"model": "org/m", "source": "s3://b/m", "s3": {"endpoint": "https://s3.example.com",
                                                   "secretRef": {"name": "keys"}}},
    {"model": "org/m", "source": "https://h/x.gguf", "sha256": "0" * 64, "task": "chat"},
    {"model": "org/m", "resources": {"limits": {"nvidia.com/gpu": 1}}, "dtype": "float16"},
    {"model": "org/m", "source": "hf://org/m-GGUF/m.gguf", "task": "chat", "engine": "llamacpp",
     "adapters": [{"name": "sql", "source": "hf://org/sql"},
                  {"name": "law", "source": "https://h/law.gguf", "sha256": "1" * 64}],
     "speculative": {"draft": {"source": "hf://org/small-GGUF/s.gguf"}, "tokens": 3}},
])  # fmt: skip
def test_the_weights_are_those_of_the_servers(wire: dict[str, Any], tmp_path: Path) -> None:
    spec = complete(wire, catalog.load()).spec
    text, left_out = model_list.model_list([("m", spec)])
    assert left_out == 0
    assert "keys" not in text
    found = listed(text, tmp_path)["m"]
    assert folder_name(found) == folder_name(spec)
    assert list(map(folder_name, companions(found))) == list(map(folder_name, companions(spec)))
    assert (found.task, found.engine, found.dtype) == (spec.task, spec.engine, spec.dtype)
    gpu = "nvidia.com/gpu" in spec.resources.limits
    assert found.device == ("cuda" if gpu else "auto")


def test_what_does_not_change_the_weights_does_not_change_the_list() -> None:
    text, _ = model_list.model_list([("m", ModelSpec(model="org/m"))])
    other = ModelSpec.model_validate(
        {"model": "org/m", "replicas": 3, "limits": {"maxQueueSize": 1}, "env": {"LOG_LEVEL": "x"}}
    )
    assert model_list.model_list([("m", other)]).text == text
    guessing = ModelSpec.model_validate({"model": "org/m", "speculative": {"promptLookup": True}})
    assert model_list.model_list([("m", guessing)]).text == text
    assert model_list.model_list([("m", ModelSpec(model="org/other"))]).text != text


def test_order_and_duplicates() -> None:
    a, b = ModelSpec(model="org/a"), ModelSpec(model="org/b")
    one = model_list.model_list([("a", a), ("b", b), ("canary", a)])
    assert one == model_list.model_list([("canary", a), ("b", b), ("a", a)])
    assert "canary" not in one.text


def test_the_size_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(model_list, "FILES_BYTES", 400)
    specs = [(f"m{i}", ModelSpec(model=f"org/m{i}")) for i in range(9)]
    text, left_out = model_list.model_list(specs)
    assert len(text) < 450
    assert len(listed(text, tmp_path)) + left_out == 9
    assert 0 < left_out < 9
