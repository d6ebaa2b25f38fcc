"""The engine of every catalog entry on simulated machines, with and without torch and CUDA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet_contract import catalog
from fleet_contract.spec import Engine, ModelSpec, Task
from fleet_prepare.choose import EngineChoice, choose
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.model_files import ModelFiles
from fleet_weights.address import Hub, parse

LISTINGS = json.loads((Path(__file__).parents[2] / "data" / "hub_listings.json").read_text())
GGUF = ModelFiles(frozenset({"SmolLM2-135M-Instruct.Q4_1.gguf"}), gguf="llama")
BERT = {"config.json": {"model_type": "bert"}}
CTRANSLATE2 = {"config.json": {"suppress_ids": [], "alignment_heads": []}}
ENTRIES = catalog.load()

CPU = Machine("cpu", has_torch=False)
CPU_TORCH = Machine("cpu", has_torch=True)
GPU_BARE = Machine("cuda", has_torch=False, torch_cuda=False, has_cublas=False)
"""An NVIDIA machine after `make up`."""
GPU = Machine("cuda", has_torch=True)
"""The same after `make up TORCH=1`."""
GPU_WITHOUT_CUBLAS = Machine("cuda", has_torch=True, has_cublas=False)
GPU_CPU_TORCH = Machine("cuda", has_torch=True, torch_cuda=False, has_cublas=False)
MAC = Machine("mps", has_torch=False, torch_cuda=False, has_cublas=False)
MAC_TORCH = Machine("mps", has_torch=True, torch_cuda=False, has_cublas=False)

every_entry = pytest.mark.parametrize("model", ENTRIES)
NEEDS_TORCH = sorted(
    model for model, spec in ENTRIES.items() if spec.vision or spec.engine is Engine.TORCH
)
WITHOUT_TORCH = sorted(set(ENTRIES) - set(NEEDS_TORCH))


def files_of(spec: ModelSpec) -> ModelFiles:
    """The files of an entry, as its listing or the addresses of its packages have them."""
    address = parse(spec.source) if spec.source is not None else None
    if isinstance(address, Hub):
        listing = LISTINGS["repositories"][address.repo]
        return ModelFiles(frozenset(listing["files"]), listing.get("documents", {}), on_disk=False)
    if spec.task is Task.CHAT:
        return GGUF
    documents = CTRANSLATE2 if spec.task is Task.SPEECH else BERT
    return ModelFiles(frozenset(file.path for file in spec.weights), documents)


def pick(model: str, machine: Machine) -> EngineChoice:
    return choose(ENTRIES[model], files_of(ENTRIES[model]), machine)


def test_most_entries_do_without_torch() -> None:
    assert len(NEEDS_TORCH) <= 4, "only the models that read images"
    assert set(catalog.DEMO) <= set(WITHOUT_TORCH)


@pytest.mark.parametrize("model", WITHOUT_TORCH)
@pytest.mark.parametrize("machine", [CPU, CPU_TORCH, GPU_BARE, GPU_CPU_TORCH, MAC])
def test_a_cpu_engine_serves_it(model: str, machine: Machine) -> None:
    choice = pick(model, machine)
    wanted = Engine.CTRANSLATE2 if ENTRIES[model].task is Task.SPEECH else Engine.OPENVINO
    assert (choice.engine, choice.device) == (wanted, "cpu")


@pytest.mark.parametrize("model", WITHOUT_TORCH)
@pytest.mark.parametrize("machine", [GPU_BARE, GPU_CPU_TORCH])
def test_an_idle_gpu_is_named_with_the_command_that_uses_it(model: str, machine: Machine) -> None:
    assert "`make up TORCH=1`" in pick(model, machine).reason


@pytest.mark.parametrize("model", NEEDS_TORCH)
@pytest.mark.parametrize("machine", [CPU, GPU_BARE, MAC])
def test_models_that_need_torch_are_refused_with_the_command(model: str, machine: Machine) -> None:
    with pytest.raises(CannotServe, match="torch is not installed") as caught:
        pick(model, machine)
    assert "make up TORCH=1" in caught.value.hint


@pytest.mark.parametrize("model", NEEDS_TORCH)
@pytest.mark.parametrize(
    ("machine", "device"), [(CPU_TORCH, "cpu"), (GPU, "cuda"), (MAC_TORCH, "mps")]
)
def test_models_that_need_torch_run_with_it(model: str, machine: Machine, device: str) -> None:
    choice = pick(model, machine)
    assert (choice.engine, choice.device) == (Engine.TORCH, device)


@every_entry
def test_a_gpu_serves_whatever_an_engine_for_it_reads(model: str) -> None:
    choice = pick(model, GPU)
    if model == "BAAI/bge-m3":  # its safetensors are pickles; the ONNX graph runs on a CPU
        assert (choice.engine, choice.device) == (Engine.OPENVINO, "cpu")
        assert "NVIDIA GPU" in choice.reason
        return
    wanted = Engine.CTRANSLATE2 if ENTRIES[model].task is Task.SPEECH else Engine.TORCH
    assert (choice.engine, choice.device) == (wanted, "cuda")


@every_entry
def test_speech_needs_cublas_on_a_gpu(model: str) -> None:
    choice = pick(model, GPU_WITHOUT_CUBLAS)
    if ENTRIES[model].task is not Task.SPEECH:
        assert choice == pick(model, GPU)
    elif any(name.endswith(".safetensors") for name in files_of(ENTRIES[model]).names):
        assert (choice.engine, choice.device) == (Engine.TORCH, "cuda")
    else:
        assert (choice.engine, choice.device) == (Engine.CTRANSLATE2, "cpu")
        assert "libcublas.so.12" in choice.reason


@pytest.mark.parametrize(
    ("machine", "suffix"), [(CPU, "-int8-v"), (GPU, "-float16-v")], ids=["cpu", "gpu"]
)
def test_whisper_is_converted_for_its_device(machine: Machine, suffix: str) -> None:
    conversion = pick("openai/whisper-tiny", machine).conversion
    assert conversion is not None
    assert suffix in conversion.suffix
