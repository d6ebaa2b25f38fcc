"""`modelfleet catalog` and `modelfleet render`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet_cli import catalog as command
from fleet_contract import catalog, manifests
from fleet_contract.spec import ModelSpec


def test_the_table_has_every_model_in_full(modelfleet: Any) -> None:
    ended = modelfleet("catalog")
    assert ended.returncode == 0
    first_words = {line.split(" ")[0] for line in ended.stdout.splitlines()}
    assert set(catalog.load()) <= first_words
    assert "768/512/256/128 dimensions" in ended.stdout
    header, *rows = ended.stdout.splitlines()
    assert "engine here" in header
    (tiny,) = (line for line in rows if line.startswith("openai/whisper-tiny "))
    assert "CTranslate2" in tiny


def test_json_is_accepted_by_model_spec(modelfleet: Any) -> None:
    ended = modelfleet("catalog", "--json")
    entries = [ModelSpec.model_validate(entry) for entry in json.loads(ended.stdout)]
    assert entries == list(catalog.load().values())


def test_the_catalog_needs_no_engines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fleet_prepare", None)
    command.app([], standalone_mode=False)
    (line,) = (each for each in capsys.readouterr().out.splitlines() if "whisper-tiny " in each)
    assert line.split()[:4] == ["openai/whisper-tiny", "whisper-tiny", "speech", "-"]


def test_an_alias_selects_its_model() -> None:
    specs = catalog.load()
    for spec in specs.values():
        for alias in spec.aliases:
            named = [model for model in specs if model.partition("/")[2].lower() == alias]
            assert len(named) != 1 or named == [spec.model], alias
    assert catalog.resolve(["whisper-tiny.en"], specs)[0].model == "openai/whisper-tiny.en"


def test_a_custom_catalog(modelfleet: Any, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    entries = "models: [{model: acme/x, task: rerank, source: 'hf://acme/x'}]"
    file.write_text(entries)
    ended = modelfleet("catalog", "--json", "--catalog", str(file))
    models = [entry["model"] for entry in json.loads(ended.stdout)]
    assert models == [*catalog.load(), "acme/x"]
    file.write_text(f"replace: true\n{entries}")
    ended = modelfleet("catalog", "--json", "--catalog", str(file))
    assert [entry["model"] for entry in json.loads(ended.stdout)] == ["acme/x"]
    file.write_text("models: [{model: acme/x, task: sing}]")
    broken = modelfleet("catalog", "--catalog", str(file))
    assert broken.returncode == 2
    assert "own.yaml: models[0] (acme/x): task: " in broken.stderr


def test_catalog_names_a_file_of_more_entries(modelfleet: Any, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("models: [{model: acme/x, task: rerank, source: 'hf://acme/x'}]")
    assert "acme/x" in modelfleet("catalog", CATALOG=str(file)).stdout
    rendered = modelfleet("render", "acme/x", CATALOG=str(file))
    found = manifests.parse(rendered.stdout, "rendered")
    assert found[0].spec["source"] == "hf://acme/x"


def test_render_prints_manifests(modelfleet: Any) -> None:
    ended = modelfleet("render", "BAAI/bge-m3", "smollm2,minilm")
    found = manifests.parse(ended.stdout, "rendered")
    assert [one.name for one in found] == [
        "baai-bge-m3", "huggingfacetb-smollm2-135m-instruct",
        "sentence-transformers-all-minilm-l6-v2",
    ]  # fmt: skip
    assert found[0].spec["source"] == "hf://BAAI/bge-m3@main"
    assert "limits" not in found[0].spec
    whole = modelfleet("render", "BAAI/bge-m3", "--defaults")
    assert manifests.parse(whole.stdout, "x")[0].spec["limits"]["maxItems"] == 2048


def test_render_completes_a_file(modelfleet: Any, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "apiVersion: modelfleet.dev/v1alpha1\nkind: InferenceModel\nmetadata: {name: mine}\n"
        "spec: {model: BAAI/bge-m3, replicas: 2}\n"
    )
    ended = modelfleet("render", "-f", str(file))
    found = manifests.parse(ended.stdout, "rendered")[0]
    assert (found.name, found.spec["replicas"], found.spec["dimensions"]) == ("mine", 2, 1024)
    file.write_text(file.read_text().replace("replicas: 2", "replicas: -2"))
    broken = modelfleet("render", "-f", str(file))
    assert broken.returncode == 2
    assert "fleet.yaml (mine): spec.replicas: " in broken.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["render"], "name models"),
        (["render", "smollm2", "-f", "x"], "name models"),
        (["render", "nope"], "'nope' is not in the catalog"),
        (["render", "-f", "nope.yaml"], "nope.yaml"),
    ],
)
def test_invalid_arguments(modelfleet: Any, arguments: list[str], words: str) -> None:
    ended = modelfleet(*arguments)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
