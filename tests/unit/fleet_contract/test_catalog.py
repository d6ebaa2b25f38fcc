"""The catalog: its entries, parsing and errors."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from fleet_contract import catalog
from fleet_contract.catalog import CatalogError, UnknownModel
from fleet_contract.completion import GPU
from fleet_contract.spec import Dtype, Engine, ModelSpec, Task

ROOT = Path(__file__).parents[3]

SEED = {
    "BAAI/bge-m3": Task.EMBEDDING,
    "google/embeddinggemma-300m": Task.EMBEDDING,
    "Qwen/Qwen3-VL-4B-Instruct-FP8": Task.CHAT,
    "Qwen/Qwen3-VL-2B-Instruct-FP8": Task.CHAT,
    "Qwen/Qwen3-VL-4B-Instruct": Task.CHAT,
    "Qwen/Qwen3-VL-2B-Instruct": Task.CHAT,
    "Qwen/Qwen3-4B-Instruct-2507": Task.CHAT,
    "Qwen/Qwen3-4B-Instruct-2507-FP8": Task.CHAT,
    "meta-llama/Llama-3.2-1B-Instruct": Task.CHAT,
    "meta-llama/Llama-3.2-3B-Instruct": Task.CHAT,
    "jethrowang/whisper-tiny-chinese": Task.SPEECH,
    "Ivydata/whisper-small-japanese": Task.SPEECH,
    "BELLE-2/Belle-whisper-large-v3-zh": Task.SPEECH,
    "drewschaub/whisper-large-v3-japanese-4k-steps": Task.SPEECH,
    "openai/whisper-large-v2": Task.SPEECH,
    "openai/whisper-medium": Task.SPEECH,
    "openai/whisper-medium.en": Task.SPEECH,
    "openai/whisper-small": Task.SPEECH,
    "openai/whisper-small.en": Task.SPEECH,
    "openai/whisper-tiny": Task.SPEECH,
    "openai/whisper-tiny.en": Task.SPEECH,
}


@pytest.fixture(scope="module")
def known() -> dict[str, ModelSpec]:
    return catalog.load()


@pytest.mark.parametrize(("model", "task"), SEED.items())
def test_has_the_models_of_the_seed(known: dict[str, ModelSpec], model: str, task: Task) -> None:
    spec = known[model]
    assert spec.task is task
    assert spec.source == f"hf://{model}@main"


def test_an_id_of_the_seed_without_organisation_still_names_its_model(
    known: dict[str, ModelSpec],
) -> None:
    (spec,) = catalog.resolve(["whisper-large-v3-japanese-4k-steps"], known)
    assert spec.source == "hf://drewschaub/whisper-large-v3-japanese-4k-steps@main"


def test_every_entry_has_its_requirements(known: dict[str, ModelSpec]) -> None:
    for model, spec in known.items():
        assert spec.resources.requests.keys() >= {"cpu", "memory"}, model
        assert "memory" in spec.resources.limits, model
        assert spec.vision == ("-VL-" in model), model
        if spec.task is Task.SPEECH:
            english = model.endswith(".en") or model.startswith("distil-whisper/")
            assert spec.multilingual is not english, model
        if spec.task is Task.EMBEDDING:
            assert spec.dimensions, model
        if spec.task is Task.CHAT:
            assert spec.defaults.temperature is not None, model
            assert spec.context_length, model
    assert known["google/embeddinggemma-300m"].matryoshka_dimensions == [512, 256, 128]


def test_only_models_that_read_images_request_a_gpu(known: dict[str, ModelSpec]) -> None:
    """The engine is chosen by the files and the machine: no entry names one, or a format."""
    for model, spec in known.items():
        assert (GPU in spec.resources.limits) == spec.vision, model
        assert (spec.engine, spec.dtype) == (Engine.AUTO, Dtype.AUTO), model


def test_the_demo_runs_without_torch_and_is_pinned(known: dict[str, ModelSpec]) -> None:
    demo = catalog.resolve(catalog.DEMO, known)
    assert [spec.task for spec in demo] == [Task.CHAT, Task.EMBEDDING, Task.SPEECH]
    for spec in demo:
        assert spec.engine is not Engine.TORCH
        assert GPU not in spec.resources.limits
        assert spec.sha256 or all(file.sha256 for file in spec.weights)


def test_is_packaged_in_the_wheel() -> None:
    packaged = files("fleet_contract").joinpath("catalog.yaml")
    assert packaged.read_text() == (ROOT / "configs/catalog.yaml").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "catalog.yaml" in project["tool"]["setuptools"]["package-data"]["fleet_contract"]


def test_resolves_ids_and_aliases_once_and_in_order(known: dict[str, ModelSpec]) -> None:
    found = catalog.resolve(["whisper-base", "smollm2", "openai/whisper-base"], known)
    assert [spec.model for spec in found] == [
        "openai/whisper-base", "HuggingFaceTB/SmolLM2-135M-Instruct",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [("smolm2", "did you mean smollm2"), ("bge", "did you mean bge-m3"), ("", "modelfleet catalog"),
     ("zzz", "modelfleet catalog")],
)  # fmt: skip
def test_an_unknown_name_gets_a_hint(known: dict[str, ModelSpec], name: str, words: str) -> None:
    with pytest.raises(UnknownModel, match=words):
        catalog.resolve([name], known)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a mapping with a list under `models`"),
        ("models: {a: b}", "must be a mapping with a list"),
        ("models: []\nother: 1", "unknown key 'other'; known are models"),
        ("models: []\nreplace: yes please", "replace: must be true or false"),
        ("models: [a]", r"models\[0\]: must be a mapping, not str"),
        ("models:\n- model: a\n  task: sing", r"models\[0\] \(a\): task: "),
        ("models:\n- model: a\n  limits: {maxItems: 0}", r"\(a\): limits.maxItems: "),
        ("models:\n- model: a\n  nonsense: 1", r"\(a\): nonsense: "),
        ("models:\n- model: a\n- model: a", r"models\[1\] \(a\): 'a' already names a"),
        ("models:\n- {model: a, aliases: [x]}\n- {model: b, aliases: [x]}", "'x' already names a"),
        ("models:\n- model: a\n  task: chat\n  task: chat", "f.yaml:4:3: .* duplicate key"),
        ("models: [", "f.yaml:1:10: not valid YAML"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("models: []\n---\nmodels: []", "must be a mapping"),
        ("models: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("1: 2", "not a string"),
    ],
)
def test_errors_name_file_and_key(text: str, words: str) -> None:
    with pytest.raises(CatalogError, match=words) as caught:
        catalog.parse(text, "f.yaml")
    assert str(caught.value).startswith("f.yaml")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nothing\.yaml"):
        catalog.load(tmp_path / "nothing.yaml")


OWN = """
models:
- {model: acme/x, aliases: [bge-m3], task: embedding, source: "hf://acme/x"}
- {model: openai/whisper-tiny, task: speech, source: "hf://acme/tiny"}
"""


def test_a_custom_file_adds_entries(tmp_path: Path, known: dict[str, ModelSpec]) -> None:
    """Its ids and aliases take precedence; the rest of the catalog is unchanged."""
    file = tmp_path / "own.yaml"
    file.write_text(OWN)
    found = catalog.load(file)
    assert found.keys() == known.keys() | {"acme/x"}
    assert found["openai/whisper-tiny"].source == "hf://acme/tiny"
    assert catalog.find("bge-m3", found) == found["acme/x"]
    assert "bge-m3" not in found["BAAI/bge-m3"].aliases
    assert catalog.find("whisper-tiny", found) is None
    assert found["BAAI/bge-reranker-v2-m3"] == known["BAAI/bge-reranker-v2-m3"]


def test_a_file_may_be_the_whole_catalog(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"replace: true\n{OWN}")
    assert list(catalog.load(file)) == ["acme/x", "openai/whisper-tiny"]
