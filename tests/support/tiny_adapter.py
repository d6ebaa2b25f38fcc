"""Random LoRA adapters of tiny_chat's models, in PEFT's format and as llama.cpp converts them.

PEFT: github.com/huggingface/peft, docs/source/developer_guides/checkpoint.md. GGUF:
convert_lora_to_gguf.py of llama.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from support import tiny_chat, tiny_gguf

RANK, ALPHA = 4, 8
TARGETS = ("q_proj", "v_proj", "down_proj")
Arrays = dict[str, NDArray[np.float32]]


def matrices(config: Mapping[str, Any], seed: int) -> dict[str, tuple[Any, Any]]:
    """A `[RANK, in]` and B `[out, RANK]` of each adapted weight, by the weight's name."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, values in tiny_chat.random_tensors(config, 0).items():
        if name.split(".")[-2] in TARGETS and values.ndim == 2:
            a = rng.normal(0, 0.1, (RANK, values.shape[1])).astype(np.float32)
            b = rng.normal(0, 0.1, (values.shape[0], RANK)).astype(np.float32)
            found[name] = a, b
    return found


def write_peft(folder: Path, config: Mapping[str, Any], seed: int) -> Path:
    """A folder with adapter_config.json and adapter_model.safetensors."""
    folder.mkdir(parents=True)
    tensors: Arrays = {}
    for name, (a, b) in matrices(config, seed).items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        tensors |= {f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": list(TARGETS),
        "bias": "none", "task_type": "CAUSAL_LM",
    }))  # fmt: skip
    return folder


def write_gguf(path: Path, config: Mapping[str, Any], seed: int) -> Path:
    """The same adapter as a GGUF file."""
    family = config["model_type"]
    writer = gguf.GGUFWriter(path, family)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(ALPHA))
    names = gguf.get_tensor_name_map(tiny_gguf.architecture(family), config["num_hidden_layers"])
    for name, (a, b) in matrices(config, seed).items():
        known = names.get_name(name, try_suffixes=(".weight",))
        assert known is not None
        writer.add_tensor(f"{known}.lora_a", a)
        writer.add_tensor(f"{known}.lora_b", tiny_gguf.ordered(name, b, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def merged(reference: Any, config: Mapping[str, Any], seed: int) -> None:
    """Add the adapter to the weights of a model of transformers."""
    import torch

    weights = dict(reference.named_parameters())
    with torch.no_grad():
        for name, (a, b) in matrices(config, seed).items():
            weights[name] += torch.from_numpy(b @ a) * (ALPHA / RANK)
