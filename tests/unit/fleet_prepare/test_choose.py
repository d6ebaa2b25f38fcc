from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from fleet_contract.engines import features
from fleet_contract.installation import install_command
from fleet_contract.spec import Engine, ModelSpec
from fleet_prepare.choose import FACTORIES, EngineChoice, choose
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine
from fleet_prepare.model_files import ModelFiles, from_folder
from fleet_prepare.readers import READERS

CPU = Machine("cpu", has_torch=False)
CPU_TORCH = Machine("cpu", has_torch=True)
CUDA = Machine("cuda", has_torch=True)


def gguf(folder: Path, architecture: str) -> Path:
    """A GGUF head: magic, version, no tensors, one pair."""
    folder.mkdir(exist_ok=True)
    key, value = b"general.architecture", architecture.encode()
    head = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1)
    pair = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value
    (folder / "model.gguf").write_bytes(head + pair)
    return folder


def whisper(folder: Path) -> Path:
    (folder / "model.bin").write_bytes(b"x")
    (folder / "config.json").write_text(json.dumps({"alignment_heads": [], "suppress_ids": []}))
    return folder


def safetensors(folder: Path, **config: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(b"x")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def pick(folder: Path, machine: Machine, **spec: object) -> EngineChoice:
    whole = ModelSpec.model_validate({"model": "org/m", **spec})
    return choose(whole, from_folder(folder), machine, ())


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_gguf_on_a_cpu_is_served_by_openvino(tmp_path: Path, architecture: str) -> None:
    choice = pick(gguf(tmp_path, architecture), CPU)
    assert (choice.engine, choice.device) == (Engine.OPENVINO, "cpu")
    assert architecture in choice.reason


def test_an_engine_without_speculative_decoding_is_refused(tmp_path: Path) -> None:
    guesses = {"promptLookup": True}
    assert pick(gguf(tmp_path, "llama"), CPU, speculative=guesses).engine is Engine.OPENVINO
    with pytest.raises(
        CannotServe, match=r"torch engine has no speculative.promptLookup.*openvino"
    ):
        pick(tmp_path, CPU_TORCH, speculative=guesses, engine="torch")


def test_a_draft_model_and_cache_types_are_for_llamacpp(tmp_path: Path) -> None:
    folder = gguf(tmp_path, "llama")
    able = Machine("cpu", has_torch=False, has_llamacpp=True)
    draft = {"draft": {"source": "file:///draft.gguf"}}
    assert pick(folder, able, speculative=draft, engine="llamacpp").engine is Engine.LLAMACPP
    assert pick(folder, able, speculative=draft).engine is Engine.LLAMACPP
    with pytest.raises(CannotServe, match=r"openvino engine has no speculative.draft.*llamacpp"):
        pick(folder, CPU, speculative=draft)
    (folder / "mmproj-model.gguf").write_bytes((folder / "model.gguf").read_bytes())
    with pytest.raises(CannotServe, match="no engine reads images with a draft model"):
        pick(folder, able, speculative=draft, engine="llamacpp", vision=True)
    (folder / "mmproj-model.gguf").unlink()
    cache = {"type": "q8_0"}
    assert pick(folder, able, cache=cache, engine="llamacpp").engine is Engine.LLAMACPP
    choice = pick(folder, able, cache=cache)
    assert choice.engine is Engine.LLAMACPP
    assert "what openvino lacks" in choice.reason
    with pytest.raises(CannotServe, match=r"openvino engine has no cache.type q8_0.*llamacpp"):
        pick(folder, CPU, cache=cache)


def test_torch_reads_a_gguf_of_another_family(tmp_path: Path) -> None:
    assert pick(gguf(tmp_path, "mamba"), CPU_TORCH).engine is Engine.TORCH


def test_a_gguf_that_transformers_does_not_read_is_not_for_torch(tmp_path: Path) -> None:
    folder = gguf(tmp_path, "granite")
    with pytest.raises(CannotServe, match="torch engine reads none of the files"):
        pick(folder, CPU_TORCH, engine="torch")
    with pytest.raises(CannotServe, match="needs the llamacpp engine"):
        pick(folder, CUDA)
    choice = pick(folder, Machine("cuda", has_torch=True, has_llamacpp=True))
    assert (choice.engine, choice.device) == (Engine.LLAMACPP, "cpu")
    assert "no engine reads these files on the NVIDIA GPU" in choice.reason


def test_gguf_on_cuda_is_served_by_torch(tmp_path: Path) -> None:
    choice = pick(gguf(tmp_path, "llama"), CUDA)
    assert (choice.engine, choice.device) == (Engine.TORCH, "cuda")


def test_a_device_of_the_spec_overrides_the_detected_one(tmp_path: Path) -> None:
    assert pick(gguf(tmp_path, "llama"), CUDA, device="cpu").engine is Engine.OPENVINO
    assert pick(gguf(tmp_path, "llama"), CUDA, device="cuda:1").device == "cuda:1"


@pytest.mark.parametrize("machine", [CPU, CUDA])
def test_ctranslate2_whisper_is_served_by_ctranslate2(tmp_path: Path, machine: Machine) -> None:
    choice = pick(whisper(tmp_path), machine, task="speech")
    assert (choice.engine, choice.device) == (Engine.CTRANSLATE2, machine.accelerator)


def test_ctranslate2_has_no_mps(tmp_path: Path) -> None:
    choice = pick(whisper(tmp_path), Machine("mps", has_torch=True), task="speech")
    assert (choice.engine, choice.device) == (Engine.CTRANSLATE2, "cpu")


@pytest.mark.parametrize("task", ["embedding", "rerank"])
def test_encoders_on_a_cpu_are_served_by_openvino(tmp_path: Path, task: str) -> None:
    choice = pick(safetensors(tmp_path, model_type="bert"), CPU, task=task)
    assert choice.engine is Engine.OPENVINO
    assert "bert" in choice.reason
    with pytest.raises(CannotServe, match="torch"):
        pick(safetensors(tmp_path, model_type="electra"), CPU, task=task)


def test_vision_needs_torch(tmp_path: Path) -> None:
    folder = safetensors(tmp_path, model_type="qwen3_vl")
    assert pick(folder, CPU_TORCH, vision=True).engine is Engine.TORCH
    with pytest.raises(CannotServe, match="make up TORCH=1"):
        pick(folder, CPU, vision=True)


def test_a_handler_takes_precedence(tmp_path: Path) -> None:
    choice = pick(tmp_path, CPU, handler="my.package.Handler")
    assert (choice.engine, choice.factory) == (Engine.CUSTOM, "my.package.Handler")


def test_a_named_engine_that_cannot_do_the_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="ctranslate2, torch"):
        pick(tmp_path, CPU, engine="openvino", task="speech")


def test_the_tasks_of_engines_are_those_of_the_contract() -> None:
    assert set(FACTORIES) == set(READERS)
    assert set(FACTORIES) == {(one, task) for one, tasks in features.TASKS.items()
                              for task in tasks}  # fmt: skip


def test_a_gpu_that_no_engine_uses_is_refused_with_what_to_change(tmp_path: Path) -> None:
    folder = gguf(tmp_path, "qwen3vl")
    (folder / "mmproj-F16.gguf").write_bytes(b"GGUF")
    machine = Machine("cuda", has_torch=True, has_llamacpp=True)
    assert pick(folder, machine, vision=True).device == "cpu"
    with pytest.raises(CannotServe, match="no engine reads these files on the NVIDIA") as refused:
        pick(folder, machine, vision=True, device="cuda")
    # An installation of torch, which is there, changes nothing.
    assert "TORCH=1" not in str(refused.value)
    assert "to auto or cpu" in refused.value.hint
    assert "engine: llamacpp" in refused.value.hint
    with pytest.raises(CannotServe, match="device cuda: the openvino engine does not use it"):
        pick(folder, machine, engine="openvino", device="cuda")


def test_a_named_engine_is_used(tmp_path: Path) -> None:
    folder = safetensors(tmp_path, model_type="llama")
    assert pick(folder, CPU_TORCH, engine="torch").engine is Engine.TORCH
    with pytest.raises(CannotServe, match="make up TORCH=1"):
        pick(folder, CPU, engine="torch")


def test_a_named_engine_that_reads_none_of_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match=r"model\.safetensors"):
        pick(safetensors(tmp_path, model_type="llama"), CPU, engine="openvino")
    folder = safetensors(tmp_path, model_type="electra")
    with pytest.raises(CannotServe, match="model_type 'electra' is not supported"):
        pick(folder, CPU, engine="openvino", task="embedding")


@pytest.mark.parametrize(
    ("machine", "device", "words"),
    [
        (CPU_TORCH, "cuda", "no NVIDIA GPU, and no AMD GPU that a ROCm build of torch uses"),
        (CPU_TORCH, "mps", "no Metal"),
        (Machine("cuda", has_torch=True, torch_cuda=False), "cuda:0", "torch has no CUDA"),
        (Machine("cuda", has_torch=False, torch_cuda=False), "cuda", "torch is not installed"),
    ],
)
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_device_that_cannot_be_used_is_refused(
    tmp_path: Path, machine: Machine, device: str, words: str, engine: str
) -> None:
    with pytest.raises(CannotServe, match=words):
        pick(gguf(tmp_path, "llama"), machine, device=device, engine=engine)


INTEL = Machine("cpu", has_torch=True, intel=frozenset({"gpu", "npu"}))


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_openvino_serves_intel_devices_that_the_spec_names(tmp_path: Path, engine: str) -> None:
    folder = gguf(tmp_path, "llama")
    assert pick(folder, INTEL, engine=engine).device == "cpu"
    choice = pick(folder, INTEL, engine=engine, device="gpu:1")
    assert (choice.engine, choice.device) == (Engine.OPENVINO, "gpu:1")


@pytest.mark.parametrize("device", ["gpu", "npu"])
def test_encoders_run_on_intel_devices(tmp_path: Path, device: str) -> None:
    folder = safetensors(tmp_path, model_type="bert")
    choice = pick(folder, INTEL, task="embedding", device=device)
    assert (choice.engine, choice.device) == (Engine.OPENVINO, device)


def test_an_encoder_on_an_intel_gpu_needs_files_that_openvino_reads(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="device gpu: the openvino engine reads none of its file"):
        pick(gguf(tmp_path, "llama"), INTEL, device="gpu", task="embedding")


@pytest.mark.parametrize("machine", [CPU, CPU_TORCH, CUDA])
def test_no_engine_transcribes_with_a_gguf(tmp_path: Path, machine: Machine) -> None:
    with pytest.raises(CannotServe, match=r"No engine reads the files of org/m \(model\.gguf\)"):
        pick(gguf(tmp_path, "whisper"), machine, task="speech")


def test_the_tables_of_files_agree() -> None:
    only = ModelFiles(frozenset({"model.gguf"}), gguf="llama")
    read = {place for place, reader in READERS.items() if reader(only) is not None}
    assert read == features.GGUF_READERS


def test_speech_on_a_gpu_needs_cublas(tmp_path: Path) -> None:
    folder, machine = whisper(tmp_path), Machine("cuda", has_torch=True, has_cublas=False)
    for engine in ("auto", "ctranslate2"):
        choice = pick(folder, machine, task="speech", engine=engine)
        assert choice.device == "cpu"
        assert "libcublas.so.12" in choice.reason
        with pytest.raises(CannotServe, match="libcublas"):
            pick(folder, machine, task="speech", engine=engine, device="cuda")


def test_an_engine_that_is_not_installed_is_not_chosen(tmp_path: Path) -> None:
    bare = Machine("cpu", has_torch=True, has_openvino=False)
    assert pick(gguf(tmp_path, "llama"), bare).engine is Engine.TORCH
    with pytest.raises(CannotServe, match="not installed"):
        pick(tmp_path, bare, engine="openvino")


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_a_quantization_that_nothing_applies_is_refused(tmp_path: Path, quantization: str) -> None:
    with pytest.raises(CannotServe, match=f"quantization {quantization}.*as they are") as refused:
        pick(gguf(tmp_path, "llama"), CPU, quantization=quantization)
    assert "QUANTIZATION" in str(refused.value)
    assert pick(tmp_path, CPU, quantization="none").engine is Engine.OPENVINO


def test_the_hint_has_the_requested_model(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="make up TORCH=1 MODELS=org/m"):
        pick(safetensors(tmp_path, model_type="mamba"), CPU)


LLAMACPP = Machine("cpu", has_torch=True, has_llamacpp=True)


def test_llamacpp_gets_the_ggufs_that_openvino_does_not_read(tmp_path: Path) -> None:
    other, known = tmp_path / "other", tmp_path / "known"
    other.mkdir()
    known.mkdir()
    choice = pick(gguf(other, "gemma3"), LLAMACPP)
    assert (choice.engine, choice.device) == (Engine.LLAMACPP, "cpu")
    assert "gemma3" in choice.reason
    assert pick(gguf(known, "llama"), LLAMACPP).engine is Engine.OPENVINO
    assert pick(known, LLAMACPP, engine="llamacpp").engine is Engine.LLAMACPP


def test_llamacpp_reads_one_gguf(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="reads none of the files"):
        pick(safetensors(tmp_path), LLAMACPP, engine="llamacpp")


def test_llamacpp_uses_metal_and_gpus_that_the_spec_names(tmp_path: Path) -> None:
    """Whether the installed build has the GPU is seen when it is loaded."""
    machine = Machine("cuda", has_torch=False, has_llamacpp=True)
    folder = gguf(tmp_path, "llama")
    assert pick(folder, machine, engine="llamacpp").device == "cpu"
    assert pick(folder, machine, engine="llamacpp", device="cuda:1").device == "cuda:1"
    mac = Machine("mps", has_torch=False, has_llamacpp=True)
    for engine in ("auto", "llamacpp"):
        choice = pick(folder, mac, engine=engine)
        assert (choice.engine, choice.device) == (Engine.LLAMACPP, "mps")
    assert pick(folder, mac, engine="llamacpp", device="cpu").device == "cpu"


def test_llamacpp_uses_an_amd_gpu_without_torch(tmp_path: Path) -> None:
    """Whether its build is one for ROCm or Vulkan is seen when it is loaded."""
    machine = Machine("cpu", has_torch=False, has_llamacpp=True, has_amd=True)
    folder = gguf(tmp_path, "llama")
    for device in ("cuda", "cuda:1"):
        choice = pick(folder, machine, engine="llamacpp", device=device)
        assert (choice.engine, choice.device) == (Engine.LLAMACPP, device)
    assert pick(folder, machine, engine="llamacpp").device == "cpu"
    assert pick(folder, machine).device == "cpu"


def test_a_missing_llamacpp_has_its_own_extra(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="not installed") as found:
        pick(gguf(tmp_path, "llama"), CPU, engine="llamacpp")
    assert install_command("llamacpp") in str(found.value)


def test_llamacpp_is_proposed_for_a_gguf_that_nothing_installed_reads(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match=r"needs the llamacpp engine \(no other") as found:
        pick(gguf(tmp_path, "mamba"), CPU)
    assert install_command("llamacpp") in str(found.value)


def test_an_engine_that_reads_no_images_names_itself(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="The openvino engine does not read images"):
        pick(gguf(tmp_path, "llama"), LLAMACPP, engine="openvino", vision=True)


@pytest.mark.parametrize("engine", ["auto", "llamacpp"])
@pytest.mark.parametrize("machine", [LLAMACPP, Machine("cuda", True, has_llamacpp=True)])
def test_llamacpp_reads_images_with_a_projector(
    tmp_path: Path, engine: str, machine: Machine
) -> None:
    folder = gguf(tmp_path, "qwen3vl")
    (folder / "mmproj-F16.gguf").write_bytes(b"GGUF")
    for source in (folder, folder / "model.gguf"):
        choice = pick(source, machine, engine=engine, vision=True)
        assert (choice.engine, choice.device) == (Engine.LLAMACPP, "cpu")
    with pytest.raises(CannotServe, match="needs the llamacpp engine"):
        pick(folder, Machine("cpu", has_torch=True), vision=True)


def test_a_gguf_without_a_projector_reads_no_images(tmp_path: Path) -> None:
    folder = gguf(tmp_path, "qwen3vl")
    with pytest.raises(CannotServe, match=r"mmproj-… beside the model; org/m has none"):
        pick(folder, LLAMACPP, engine="llamacpp", vision=True)
    with pytest.raises(CannotServe, match="No engine reads images"):
        pick(folder, LLAMACPP, vision=True)


def test_llamacpp_transcribes_nothing(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="does not serve task speech"):
        pick(gguf(tmp_path, "llama"), LLAMACPP, engine="llamacpp", task="speech")


@pytest.mark.parametrize("task", ["embedding", "rerank"])
def test_llamacpp_reads_ggufs_of_encoders(tmp_path: Path, task: str) -> None:
    assert pick(gguf(tmp_path, "bert"), LLAMACPP, task=task).engine is Engine.LLAMACPP


def test_llamacpp_reads_models_in_parts(tmp_path: Path) -> None:
    gguf(tmp_path, "llama")
    for number in (1, 2):
        part = tmp_path / f"m-0000{number}-of-00002.gguf"
        part.write_bytes((tmp_path / "model.gguf").read_bytes())
    (tmp_path / "model.gguf").unlink()
    assert pick(tmp_path, LLAMACPP).engine is Engine.LLAMACPP
    part.unlink()
    with pytest.raises(CannotServe):
        pick(tmp_path, LLAMACPP)


LORA = [{"name": "sql", "source": "file:///sql"}]


def test_adapters_are_for_engines_that_load_them(tmp_path: Path) -> None:
    folder = gguf(tmp_path, "llama")
    able = Machine("cpu", has_torch=True, has_llamacpp=True)
    assert pick(folder, able, adapters=LORA).engine is Engine.LLAMACPP
    with pytest.raises(CannotServe, match="needs the llamacpp engine"):
        pick(folder, Machine("cpu", has_torch=True, has_llamacpp=False), adapters=LORA)


def test_adapters_are_refused_with_the_engines_that_load_them(tmp_path: Path) -> None:
    spec = ModelSpec.model_validate({"model": "org/m", "adapters": LORA})
    named = spec.model_copy(update={"engine": Engine.TORCH})  # as by the variable ENGINE
    with pytest.raises(CannotServe, match="llamacpp, vllm"):
        choose(named, from_folder(safetensors(tmp_path)), CPU_TORCH, ())


def test_vllm_loads_adapters_of_safetensors_on_a_cpu(tmp_path: Path) -> None:
    """No other engine does; without adapters another one is faster there."""
    folder = safetensors(tmp_path, **LLAMA)
    choice = pick(folder, VLLM_CPU, adapters=LORA)
    assert (choice.engine, choice.device) == (Engine.VLLM, "cpu")
    on_gpu_with_build_for_cpus = Machine("cuda", has_torch=True, has_vllm=True)
    assert pick(folder, on_gpu_with_build_for_cpus, adapters=LORA).device == "cpu"
    for machine in (CPU_TORCH, Machine("cpu", has_torch=True, has_vllm=True, vllm_cuda=True)):
        with pytest.raises(CannotServe, match="no engine that loads them reads its") as refused:
            pick(folder, machine, adapters=LORA)
        assert "make env-vllm" in str(refused.value.hint)


VLLM_CUDA = Machine("cuda", has_torch=True, has_vllm=True, vllm_cuda=True)
VLLM_CPU = Machine("cpu", has_torch=True, has_vllm=True)
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


def test_vllm_serves_chat_on_cuda_where_it_is_installed(tmp_path: Path) -> None:
    folder = safetensors(tmp_path, **LLAMA)
    choice = pick(folder, VLLM_CUDA)
    assert (choice.engine, choice.device) == (Engine.VLLM, "cuda")
    assert pick(folder, VLLM_CUDA, device="cuda:1").device == "cuda:1"
    assert pick(folder, VLLM_CPU).engine is not Engine.VLLM
    on_gpu_with_build_for_cpus = Machine("cuda", has_torch=True, has_vllm=True)
    assert pick(folder, on_gpu_with_build_for_cpus).engine is Engine.TORCH


def test_what_vllm_does_not_read_is_served_by_torch_on_cuda(tmp_path: Path) -> None:
    assert pick(gguf(tmp_path / "a", "llama"), VLLM_CUDA).engine is Engine.TORCH
    folder = safetensors(tmp_path / "b", model_type="x", architectures=["XForMaskedLM"])
    assert pick(folder, VLLM_CUDA).engine is Engine.TORCH


def test_vllm_reads_images(tmp_path: Path) -> None:
    vl = {"model_type": "qwen3_vl", "architectures": ["Qwen3VLForConditionalGeneration"]}
    folder = safetensors(tmp_path, **vl)
    assert pick(folder, VLLM_CUDA, vision=True).engine is Engine.VLLM
    assert pick(folder, VLLM_CPU, vision=True).engine is Engine.TORCH
    assert pick(folder, VLLM_CPU, vision=True, engine="vllm").engine is Engine.VLLM


def test_vllm_is_used_on_a_cpu_if_it_is_named(tmp_path: Path) -> None:
    folder = safetensors(tmp_path, **LLAMA)
    choice = pick(folder, VLLM_CPU, engine="vllm")
    assert (choice.engine, choice.device) == (Engine.VLLM, "cpu")
    with pytest.raises(CannotServe, match="is for CUDA GPUs"):
        pick(folder, VLLM_CUDA, engine="vllm", device="cpu")
    with pytest.raises(CannotServe, match="not installed") as caught:
        pick(folder, CPU, engine="vllm")
    assert "make env-vllm" in str(caught.value.hint)


def test_a_number_format_that_the_engine_lacks_is_refused(tmp_path: Path) -> None:
    folder = gguf(tmp_path / "g", "llama")
    with pytest.raises(CannotServe, match="llamacpp engine does not compute in bfloat16") as found:
        pick(folder, LLAMACPP, engine="llamacpp", dtype="bfloat16")
    assert "auto, float16 or float32" in str(found.value.hint)
    with pytest.raises(CannotServe, match="vllm engine does not compute in int8"):
        pick(safetensors(tmp_path / "s", **LLAMA), VLLM_CUDA, dtype="int8")
    with pytest.raises(CannotServe, match=r"cache\.type q8_0"):
        pick(folder, LLAMACPP, engine="llamacpp", dtype="float32", cache={"type": "q8_0"})


@pytest.mark.parametrize(("bf16", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_the_number_format_depends_on_the_cpu(tmp_path: Path, bf16: bool, dtype: str) -> None:
    machine = Machine("cpu", has_torch=True, has_llamacpp=True, cpu_bf16=bf16)
    folder = gguf(tmp_path, "llama")
    assert pick(folder, machine).dtype == dtype
    assert pick(folder, machine, engine="torch").dtype == dtype
    assert pick(folder, machine, dtype="bfloat16").dtype == "bfloat16"
    assert pick(folder, machine, engine="llamacpp").dtype == "auto"
