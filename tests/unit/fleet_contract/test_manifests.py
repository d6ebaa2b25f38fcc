"""InferenceModel manifests, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fleet_contract import catalog, manifests
from fleet_contract.crd.rules import NAME_LENGTH
from fleet_contract.manifests import ManifestError, object_name, parse
from fleet_contract.spec import ModelSpec

HEAD = "apiVersion: modelfleet.dev/v1alpha1\nkind: InferenceModel\n"
SHORT = f"{HEAD}metadata: {{name: one, namespace: ns}}\nspec: {{model: BAAI/bge-m3}}\n"


@pytest.mark.parametrize("with_defaults", [False, True])
def test_every_entry_comes_back_from_its_manifest(with_defaults: bool) -> None:
    known = list(catalog.load().values())
    text = manifests.render(known, with_defaults=with_defaults)
    read = parse(text, "rendered")
    assert [manifests.complete(one.spec, {}).spec for one in read] == known
    assert len({one.name for one in read}) == len(known)


def test_task_and_engine_are_always_written() -> None:
    made = manifests.manifest(ModelSpec(model="a/b"))
    assert made == {
        "apiVersion": "modelfleet.dev/v1alpha1", "kind": "InferenceModel",
        "metadata": {"name": "a-b"}, "spec": {"model": "a/b", "task": "chat", "engine": "auto"},
    }  # fmt: skip


def test_reads_several_documents_and_lists() -> None:
    items = [yaml.safe_load(SHORT.replace("one", name)) for name in ("two", "three")]
    as_list = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items})
    found = parse(f"---\n---\n{SHORT}---\n{as_list}", "f.yaml")
    assert [(one.name, one.namespace) for one in found] == [
        ("one", "ns"), ("two", "ns"), ("three", "ns"),
    ]  # fmt: skip
    assert found[0].spec == {"model": "BAAI/bge-m3"}
    assert "item 2" in found[2].where


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "contains no InferenceModel"),
        ("- 1", "must be an InferenceModel, not list"),
        ("kind: Service", "kind: is 'Service', must be InferenceModel"),
        ("apiVersion: v1\nkind: InferenceModel", "apiVersion: is 'v1', must be"),
        (HEAD, "metadata.name: is missing"),
        (f"{HEAD}metadata: {{name: Upper}}", "'Upper' must be lower-case"),
        (f"{HEAD}metadata: {{name: 1abc}}", "begin with a letter"),
        (f"{HEAD}metadata: {{name: {'a' * (NAME_LENGTH + 1)}}}", f"at most {NAME_LENGTH}"),
        (f"{HEAD}metadata: {{name: a}}", r"\(a\): spec: is missing"),
        (f"{SHORT}---\n{SHORT}", "document 2 .*'one' is already used by f.yaml, document 1"),
        ("kind: List", "items: must be a list"),
        ("a: [", "f.yaml:1:5: not valid YAML"),
        (f"{SHORT}spec: {{}}\n", "duplicate key 'spec'"),
    ],
)
def test_refusals_name_file_document_and_field(text: str, words: str) -> None:
    with pytest.raises(ManifestError, match=words) as caught:
        parse(text, "f.yaml")
    assert str(caught.value).startswith("f.yaml")


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(SHORT)
    assert manifests.load(file)[0].name == "one"
    with pytest.raises(ManifestError, match=r"none\.yaml"):
        manifests.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("BAAI/bge-m3", "baai-bge-m3"),
        ("openai/whisper-tiny.en", "openai-whisper-tiny-en"),
        ("01-ai/Yi", "m-01-ai-yi"),
        ("a:b", "a-b"),
        ("x-", "x"),
    ],
)
def test_names_from_ids(model: str, name: str) -> None:
    assert object_name(model) == name


def test_long_names_are_cut_and_differ() -> None:
    one, two = (object_name(f"org/{'long-' * 20}{end}") for end in ("a", "b"))
    assert one != two
    assert len(one) <= NAME_LENGTH
    assert manifests.NAME_PATTERN.fullmatch(one)


def test_a_shown_spec_has_no_secrets() -> None:
    secret = "hunter2"
    spec = ModelSpec.model_validate(
        {
            "model": "m", "dimensions": 3,
            "env": {"PASSWORD": secret, "MAX_BATCH_SIZE": "4", "HF_TOKEN": secret,
                    "TOKEN": {"valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}},
            "envFrom": [{"secretRef": {"name": secret}}],
            "files": [{"path": "/x", "content": secret}],
            "podTemplate": {"spec": {"serviceAccountName": secret}},
        }
    )  # fmt: skip
    found = manifests.without_secrets(spec)
    assert secret not in str(found.to_wire())
    assert found.to_wire() == {"model": "m", "dimensions": 3, "env": {"MAX_BATCH_SIZE": "4"}}
    assert manifests.without_secrets(ModelSpec(model="m")) == ModelSpec(model="m")
