"""Random weights in the shapes of real models: speed does not depend on their values."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import tiny_chat

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": tiny_chat.QWEN3,
    "smollm2": tiny_chat.LLAMA | {
        "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "head_dim": 64,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "max_position_embeddings": 8192, "rope_scaling": None, "rope_theta": 100000.0,
    },
    "llama-1b": tiny_chat.LLAMA | {
        "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "head_dim": 64,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
    },
    "qwen3-0.6b": tiny_chat.QWEN3 | {
        "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "head_dim": 128,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "qwen3-4b": tiny_chat.QWEN3 | {
        "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728, "head_dim": 128,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
}  # fmt: skip

Array = NDArray[Any]


def shapes_of(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors of a model by name."""
    small = config | {"vocab_size": 8, "num_hidden_layers": 1}
    layer = {name: array.shape for name, array in tiny_chat.random_tensors(small).items()}
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in layer.items():
        if ".layers.0." in name:
            for number in range(config["num_hidden_layers"]):
                found[name.replace(".0.", f".{number}.")] = shape
        else:
            found[name] = (config["vocab_size"], *shape[1:]) if 8 in shape[:1] else shape
    return found


def blocks_of(config: dict[str, Any]) -> dict[str, NDArray[np.uint16]]:
    """The tensors in bfloat16, as views of few arrays: those of one shape are the same."""
    block = (np.random.default_rng(0).normal(0, 0.02, 1 << 24).astype(np.float32)
             .view(np.uint32) >> 16).astype(np.uint16)  # fmt: skip
    shapes = shapes_of(config)
    blocks = {shape: np.resize(block, shape) for shape in set(shapes.values())}
    return {name: blocks[shape] for name, shape in shapes.items()}


def write(folder: Path, config: dict[str, Any]) -> Path:
    """A repository in bfloat16 with a vocabulary of words."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny_chat.write_tensors(folder, blocks_of(config))
    (folder / "config.json").write_text(json.dumps(config))
    tiny_chat.write_tokenizer(folder, "llama" if config["model_type"] == "llama" else "qwen")
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words = tokenizer["model"]["vocab"]
    first = max([*words.values(), *(each["id"] for each in tokenizer["added_tokens"])]) + 1
    words |= {f"\u0120word{number}": number for number in range(first, config["vocab_size"])}
    path.write_text(json.dumps(tokenizer))
    return folder


def write_gguf(path: Path, config: dict[str, Any], kind: str) -> Path:
    """The same weights as a GGUF file, matrices in the format `kind`, such as Q8_0. Needs gguf."""
    import gguf

    from support import tiny_gguf

    wanted = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, config["model_type"])
    tiny_gguf.write_shape(writer, config)
    tiny_gguf.write_tokenizer(writer, config)
    family = tiny_gguf.architecture(config["model_type"])
    names = gguf.get_tensor_name_map(family, config["num_hidden_layers"])
    done: dict[tuple[int, ...], Array] = {}
    for name, block in blocks_of(config).items():
        known = names.get_name(name, try_suffixes=(".weight",))
        if block.ndim == 1:
            writer.add_tensor(known, _float32(block))
            continue
        if block.shape not in done:
            done[block.shape] = gguf.quants.quantize(_float32(block), wanted)
        writer.add_tensor(known, done[block.shape], raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _float32(block: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (block.astype(np.uint32) << 16).view(np.float32)
