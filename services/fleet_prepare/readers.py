"""Decides which of a model's files each engine loads without a conversion; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleet_contract.spec import Engine, Task
from fleet_prepare import encoder
from fleet_prepare.model_files import CONFIG, ModelFiles
from fleet_weights import gguf_names
from fleet_weights.hub.selection import WeightsFormat

IR_FILES = ("openvino_model.xml", "openvino_detokenizer.xml")
IR_TOKENIZERS = ("openvino_tokenizer.xml", "tokenizer.json")
"""Either is enough: a tokenizer as a graph, or the tokenizer.json of a converted model."""
GGUF_ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
TORCH_GGUFS = frozenset({
    "llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "gpt-oss", "lfm2", "falcon", "phi3", "bloom",
    "stablelm", "gpt2", "starcoder2", "mamba", "nemotron", "gemma2", "gemma3", "gemma4", "deci",
    "minimax-m2",
})  # fmt: skip
"""Architectures, as `general.architecture` has them, of which transformers reads GGUF files with a
decoder. Source: modeling_gguf_pytorch_utils of transformers 5.24."""
MODULES = frozenset({"Transformer", "Pooling", "Dense", "Normalize", "Dropout"})
"""Modules of sentence-transformers that the encoder engine implements."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Which of a model's files an engine loads, and why it can."""

    kind: WeightsFormat
    reason: str


Reader = Callable[[ModelFiles], Reading | None]


def openvino_chat(files: ModelFiles) -> Reading | None:
    """OpenVINO IR, or one GGUF of a family GenAI reads."""
    if files.names.issuperset(IR_FILES) and files.names.intersection(IR_TOKENIZERS):
        return Reading(WeightsFormat.OPENVINO, "the folder holds OpenVINO IR")
    if len(files.ggufs()) != 1 or gguf_names.is_divided(files.ggufs()[0]):
        return None
    if files.gguf in GGUF_ARCHITECTURES:
        return Reading(WeightsFormat.GGUF, f"the folder holds a GGUF of the {files.gguf} family")
    return None if files.on_disk else Reading(WeightsFormat.GGUF, "the source holds a GGUF")


def openvino_encoder(files: ModelFiles) -> Reading | None:
    """Safetensors of a family whose graph the engine builds, or a graph in the repository."""
    if any(_last(module.get("type")) not in MODULES for module in files.modules):
        return None
    config = files.object(f"{_transformer(files)}{CONFIG}") or files.config
    if not config and not files.known:
        return (
            Reading(WeightsFormat.SAFETENSORS, "the source lists safetensors")
            if _tensors(files)
            else None
        )
    if (reason := encoder.supports(files.names, config)) is None:
        return None
    shipped = encoder.shipped_graph(files.names, config)
    if shipped is None:
        return Reading(WeightsFormat.SAFETENSORS, reason)
    return Reading(
        WeightsFormat.ONNX if shipped.endswith(".onnx") else WeightsFormat.OPENVINO, reason
    )


def ctranslate2_speech(files: ModelFiles) -> Reading | None:
    """A Whisper model converted for CTranslate2."""
    if "model.bin" not in files.names:
        return None
    if files.known and not {"suppress_ids", "alignment_heads"} & files.config.keys():
        return None
    return Reading(WeightsFormat.CTRANSLATE2, "the folder holds a CTranslate2 model")


def llamacpp(files: ModelFiles) -> Reading | None:
    """One GGUF, of any architecture: what llama.cpp knows is not listed here."""
    if len(files.ggufs()) != 1:
        return None
    return Reading(
        WeightsFormat.GGUF, f"the folder holds a GGUF of the {files.gguf or 'unknown'} family"
    )


def torch(files: ModelFiles) -> Reading | None:
    """Safetensors or one GGUF: what transformers loads without remote code or pickles."""
    if (tensors := torch_speech(files)) is not None:
        return tensors
    if files.gguf is not None and files.gguf not in TORCH_GGUFS:
        return None
    whole = [name for name in files.ggufs() if not gguf_names.is_divided(name)]
    return Reading(WeightsFormat.GGUF, "the folder holds a GGUF") if len(whole) == 1 else None


def torch_speech(files: ModelFiles) -> Reading | None:
    """Safetensors: transformers reads no GGUF of Whisper."""
    if not _tensors(files):
        return None
    return Reading(WeightsFormat.SAFETENSORS, "the folder holds safetensors")


def vllm(files: ModelFiles) -> Reading | None:
    """Safetensors with tokenizer.json, of an architecture that generates text; which ones vLLM has
    is not listed here."""
    if not _tensors(files) or (files.known and not _generates(files.config)):
        return None
    if files.on_disk and "tokenizer.json" not in files.names:
        return None
    return Reading(WeightsFormat.SAFETENSORS, "the folder holds safetensors")


READERS: Mapping[tuple[Engine, Task], Reader] = {
    (Engine.OPENVINO, Task.CHAT): openvino_chat,
    (Engine.OPENVINO, Task.EMBEDDING): openvino_encoder,
    (Engine.OPENVINO, Task.RERANK): openvino_encoder,
    (Engine.CTRANSLATE2, Task.SPEECH): ctranslate2_speech,
    (Engine.LLAMACPP, Task.CHAT): llamacpp,
    (Engine.LLAMACPP, Task.EMBEDDING): llamacpp,
    (Engine.LLAMACPP, Task.RERANK): llamacpp,
    (Engine.VLLM, Task.CHAT): vllm,
    (Engine.TORCH, Task.CHAT): torch,
    (Engine.TORCH, Task.EMBEDDING): torch,
    (Engine.TORCH, Task.RERANK): torch,
    (Engine.TORCH, Task.SPEECH): torch_speech,
}


def _transformer(files: ModelFiles) -> str:
    """Folder of the module that holds the encoder, with a slash; empty for the root."""
    for module in files.modules:
        if _last(module.get("type")) == "Transformer" and module.get("path"):
            return f"{str(module['path']).strip('/')}/"
    return ""


def _generates(config: Mapping[str, object]) -> bool:
    names = config.get("architectures")
    return isinstance(names, list) and any(
        str(name).endswith(("ForCausalLM", "ForConditionalGeneration")) for name in names
    )


def _tensors(files: ModelFiles) -> bool:
    return any(name.endswith(".safetensors") for name in files.names)


def _last(dotted: object) -> str:
    return str(dotted or "").rpartition(".")[2]
