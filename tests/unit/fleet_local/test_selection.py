"""The models of a fleet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_contract import catalog, manifests
from fleet_contract.spec import ModelSpec
from fleet_local.errors import StartError
from fleet_local.selection import check, select
from fleet_local.settings import UpSettings

Settings = Callable[..., UpSettings]
Spec = Callable[..., ModelSpec]
FLEET = """
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {name: short}
spec: {model: BAAI/bge-m3, device: cpu}
---
apiVersion: modelfleet.dev/v1alpha1
kind: InferenceModel
metadata: {name: own}
spec: {model: acme/own, task: embedding, source: "file:///models/own"}
"""


def test_the_demo_is_the_default(settings: Settings) -> None:
    assert tuple(spec.model for spec in select(settings())) == catalog.DEMO


def test_ids_and_aliases_are_found(settings: Settings) -> None:
    found = select(settings(models=("smollm2", "BAAI/bge-m3")))
    assert [spec.model for spec in found] == [catalog.DEMO[0], "BAAI/bge-m3"]


def test_an_unknown_id_is_refused_with_a_likely_one(settings: Settings) -> None:
    with pytest.raises(StartError, match="did you mean BAAI/bge-m3"):
        select(settings(models=("BAAI/bge-m33",)))


def test_a_custom_catalog_adds_models(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("models: [{model: acme/x, aliases: [x], source: 'hf://acme/x'}]")
    found = select(settings(models=("x", "smollm2"), catalog=path))
    assert [spec.model for spec in found] == ["acme/x", catalog.DEMO[0]]
    path.write_text("models: [{model: acme/x, task: sing}]")
    with pytest.raises(StartError, match=r"own.yaml: models\[0\]"):
        select(settings(catalog=path))


def test_a_file_of_manifests_is_completed_from_the_catalog(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    short, own = select(settings(files=(path,)))
    known = catalog.load()["BAAI/bge-m3"]
    assert (short.task, short.source, short.device) == (known.task, known.source, "cpu")
    assert own.model == "acme/own"


def test_the_output_of_render_can_be_served(settings: Settings, tmp_path: Path) -> None:
    specs = list(catalog.load().values())
    path = tmp_path / "all.yaml"
    path.write_text(manifests.render(specs))
    assert select(settings(files=(path,))) == specs


def test_a_file_and_names_are_served_together(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    found = select(settings(files=(path,), models=("smollm2",)))
    assert [spec.model for spec in found] == ["BAAI/bge-m3", "acme/own", catalog.DEMO[0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no InferenceModel"), ("spec: [", "fleet.yaml"), ("kind: Pod", "Pod"),
        (FLEET.replace("task: embedding", "task: dance"), "own"),
    ],
)  # fmt: skip
def test_an_invalid_file_is_refused(
    settings: Settings, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    with pytest.raises(StartError, match=words):
        select(settings(files=(path,)))


def test_a_file_that_is_not_there_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"none\.yaml"):
        select(settings(files=(tmp_path / "none.yaml",)))


def test_two_models_may_not_claim_one_id(spec: Spec) -> None:
    with pytest.raises(StartError, match="'chat' is an id or alias of both 'a' and 'b'"):
        check([spec("a", aliases=["chat"]), spec("b", aliases=["chat"])])


def test_an_adapter_may_not_have_the_id_of_a_model(spec: Spec) -> None:
    lora = {"name": "sql", "source": "file:///sql"}
    with pytest.raises(StartError, match="'a:sql' is an adapter of 'a', and an id or alias of 'b'"):
        check([spec("a", adapters=[lora]), spec("b", aliases=["a:sql"])])


def test_models_in_containers_are_refused_with_a_hint(spec: Spec) -> None:
    with pytest.raises(StartError) as caught:
        check([spec("a", engine="vllm", container={"image": "x"})])
    assert "remote" in caught.value.hint


def test_no_model_at_all_is_refused() -> None:
    with pytest.raises(StartError, match="no model"):
        check([])
