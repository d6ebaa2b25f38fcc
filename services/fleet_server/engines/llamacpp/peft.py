"""Converts LoRA adapters in PEFT's format to GGUF files.

PEFT: github.com/huggingface/peft, docs/source/developer_guides/checkpoint.md. The result is that of
convert_lora_to_gguf.py in llama.cpp, which no package contains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from fleet_prepare import safetensors_file
from fleet_prepare.gguf_head import Value
from fleet_prepare.safetensors_file import Tensors
from fleet_server.engines.encoder_files.json_file import read_object
from fleet_server.load_error import LoadError
from fleet_weights.errors import WeightsError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
"""Those whose weights are in GGUF files as in repositories, apart from names and Llama's order."""
PREFIX, A, B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
UNKNOWN = (
    "rank_pattern", "alpha_pattern", "use_dora", "use_qalora", "lora_bias", "modules_to_save",
    "fan_in_fan_out", "layer_replication", "alora_invocation_tokens", "use_bdlora",
)  # fmt: skip
"""Fields of the configuration that change what the matrices mean; refused if they are set."""
PLAIN = frozenset({"gaussian", "eva", "orthogonal", "mica"})
"""Names in init_lora_weights of matrices that begin differently. Others, such as PiSSA, change the
model's own weights as well, when PEFT loads the adapter."""
MOST_ALPHA = 1e6
MOST = 4096
"""Layers and heads of a model."""
REMEDY = "Convert it with convert_lora_to_gguf.py of llama.cpp, and name the GGUF file."


def convert(name: str, folder: Path, base: Mapping[str, Value], path: Path) -> None:
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
    config = read_object(folder / CONFIG)
    scale = _alpha(name, config)
    try:
        with safetensors_file.open_file(folder / WEIGHTS) as tensors:
            _write(name, tensors, base, config["r"], scale, path)
    except WeightsError as error:
        raise LoadError(f"The adapter {name} cannot be read: {error}") from error


def _alpha(name: str, config: Mapping[str, Any]) -> float:
    """The factor that llama.cpp divides by the rank."""
    rank, alpha = config.get("r"), config.get("lora_alpha")
    # llama.cpp reads an alpha of 0 as one that is not given.
    if type(rank) is not int or rank < 1 or not _is_positive(alpha):
        raise LoadError(f"{CONFIG} of the adapter {name} gives no rank or no positive lora_alpha.")
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
    begin = config.get("init_lora_weights", True)
    if isinstance(begin, str) and begin.lower() not in PLAIN:
        raise LoadError(
            f"{CONFIG} of the adapter {name} has init_lora_weights {begin!r}: it fits only a model "
            f"whose weights were changed in the same way.",
            "Convert it to a plain one with PEFT (path_initial_model_for_weight_conversion).",
        )
    return alpha * math.sqrt(rank) if config.get("use_rslora") else float(alpha)


def _is_positive(alpha: object) -> TypeGuard[float]:
    return isinstance(alpha, int | float) and type(alpha) is not bool and 0 < alpha < MOST_ALPHA


def _write(
    name: str, tensors: Tensors, base: Mapping[str, Value], rank: int, alpha: float, path: Path
) -> None:
    import gguf

    architecture = str(base["general.architecture"])
    number = next(key for key, text in gguf.MODEL_ARCH_NAMES.items() if text == architecture)
    known = gguf.get_tensor_name_map(number, _size(base, f"{architecture}.block_count"))
    written = set()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    for key in sorted(tensors.names):
        kind = next((suffix for suffix in (A, B) if key.endswith(suffix)), "")
        weight = key.removeprefix(PREFIX).removesuffix(kind) if kind else ""
        inner = known.get_name(weight)
        target = f"{inner}.weight.lora_{'a' if kind == A else 'b'}"
        if inner is None or target in written:
            raise LoadError(
                f"The adapter {name} holds the tensor {key}, which the llamacpp engine does not "
                f"convert.",
                REMEDY,
            )
        written.add(target)
        shape = tensors.shape(key)
        # llama.cpp divides alpha by the rank of the matrices, PEFT by that of the configuration.
        if len(shape) != 2 or shape[0 if kind == A else 1] != rank or not all(shape):
            raise LoadError(
                f"The tensor {key} of the adapter {name} has the shape {list(shape)}, which is not "
                f"one of rank {rank}."
            )
        values = tensors.read(key)
        if kind == B and architecture == "llama":
            values = _neighbours(weight, values, base)
        writer.add_tensor(target, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _neighbours(
    weight: str, values: NDArray[np.float32], base: Mapping[str, Value]
) -> NDArray[np.float32]:
    """The rows of a head in the order of llama.cpp, which rotates neighbouring dimensions;
    transformers rotates those of both halves."""
    if not weight.endswith((".q_proj", ".k_proj")):
        return values
    of_keys = "llama.attention.head_count_kv"
    is_key = weight.endswith(".k_proj") and of_keys in base
    heads = _size(base, of_keys if is_key else "llama.attention.head_count")
    if len(values) % (2 * heads):
        raise LoadError(f"{weight} of the adapter has {len(values)} rows for {heads} heads.")
    halves = values.reshape(heads, 2, len(values) // heads // 2, -1)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _size(base: Mapping[str, Value], name: str) -> int:
    value = base.get(name)
    if type(value) is not int or not 0 < value <= MOST:
        raise LoadError(f"The GGUF of the model gives no {name} that adapters fit.", REMEDY)
    return value
