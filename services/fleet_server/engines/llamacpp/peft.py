"""Converts LoRA adapters in PEFT's format to GGUF files.

PEFT: github.com/huggingface/peft, docs/source/developer_guides/checkpoint.md. The result is that of
convert_lora_to_gguf.py in llama.cpp, which no package contains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_prepare import safetensors_file
from fleet_prepare.gguf_head import Scalar
from fleet_prepare.safetensors_file import Tensors
from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.load_error import LoadError
from fleet_weights.errors import WeightsError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
"""Those whose weights are in GGUF files as in repositories, apart from names and Llama's order."""
PREFIX, A, B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
UNKNOWN = ("rank_pattern", "alpha_pattern", "use_dora", "modules_to_save", "fan_in_fan_out")
"""Fields of the configuration that change what the matrices mean; refused if they are set."""
REMEDY = "Convert it with convert_lora_to_gguf.py of llama.cpp, and name the GGUF file."


def convert(name: str, folder: Path, base: Mapping[str, Scalar], path: Path) -> None:
    """Write the adapter in `folder` to `path`; `base` is the metadata of the model's GGUF.

    Raises LoadError.
    """
    architecture = base.get("general.architecture")
    if architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise LoadError(
            f"The adapter {name} is in PEFT's format, which the llamacpp engine converts for the "
            f"architectures {known}; this model is of {architecture}.",
            REMEDY,
        )
    scale = _alpha(name, read_object(folder / CONFIG))
    try:
        with safetensors_file.open_file(folder / WEIGHTS) as tensors:
            _write(name, tensors, base, scale, path)
    except WeightsError as error:
        raise LoadError(f"The adapter {name} cannot be read: {error}") from error


def _alpha(name: str, config: Mapping[str, Any]) -> float:
    """The factor that llama.cpp divides by the rank."""
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or rank < 1 or not isinstance(alpha, int | float):
        raise LoadError(f"{CONFIG} of the adapter {name} gives no rank or no lora_alpha.")
    found = [field for field in UNKNOWN if config.get(field)]
    if config.get("bias", "none") != "none":
        found.append("bias")
    if config.get("peft_type", "LORA") != "LORA":
        found.append("peft_type")
    if found:
        raise LoadError(
            f"{CONFIG} of the adapter {name} has {', '.join(found)}, which the llamacpp engine "
            f"does not convert.",
            REMEDY,
        )
    return alpha * math.sqrt(rank) if config.get("use_rslora") else float(alpha)


def _write(
    name: str, tensors: Tensors, base: Mapping[str, Scalar], alpha: float, path: Path
) -> None:
    import gguf

    architecture = str(base["general.architecture"])
    number = next(key for key, text in gguf.MODEL_ARCH_NAMES.items() if text == architecture)
    known = gguf.get_tensor_name_map(number, int(base[f"{architecture}.block_count"]))
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    for key in sorted(tensors.names):
        kind = next((suffix for suffix in (A, B) if key.endswith(suffix)), "")
        weight = key.removeprefix(PREFIX).removesuffix(kind) if kind else ""
        inner = known.get_name(weight)
        if inner is None or tensors.shape(key)[0] < 1:
            raise LoadError(
                f"The adapter {name} holds the tensor {key}, which the llamacpp engine does not "
                f"convert.",
                REMEDY,
            )
        values = tensors.read(key)
        if kind == B and architecture == "llama":
            values = _neighbours(weight, values, base)
        writer.add_tensor(f"{inner}.weight.lora_{'a' if kind == A else 'b'}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _neighbours(
    weight: str, values: NDArray[np.float32], base: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """The rows of a head in the order of llama.cpp, which rotates neighbouring dimensions;
    transformers rotates those of both halves."""
    heads = base["llama.attention.head_count"]
    if weight.endswith(".k_proj"):
        heads = base.get("llama.attention.head_count_kv", heads)
    elif not weight.endswith(".q_proj"):
        return values
    halves = values.reshape(int(heads), 2, values.shape[0] // int(heads) // 2, -1)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
