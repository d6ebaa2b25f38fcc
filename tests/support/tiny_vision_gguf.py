"""The tiny Qwen3-VL of tiny_checkpoints as GGUF files with float32 weights: model and projector.

Format: conversion/qwen3vl.py and conversion/base.py in github.com/ggml-org/llama.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from support import tiny_checkpoints, tiny_gguf

MODEL, PROJECTOR = "tiny-F32.gguf", "mmproj-tiny-F32.gguf"
MERGERS = {"norm": "norm", "linear_fc1": "fc1", "linear_fc2": "fc2"}


def write(folder: Path, made: Any, processor: Any) -> Path:
    """Write both files into `folder`, from a model of transformers and its image processor; the
    path of the model."""
    folder.mkdir(exist_ok=True)
    _write_text(folder / MODEL, made)
    _write_vision(folder / PROJECTOR, made, processor)
    return folder / MODEL


def _write_text(path: Path, made: Any) -> None:
    config = made.config.text_config
    writer = gguf.GGUFWriter(path, "qwen3vl")
    rope = config.rope_parameters
    tiny_gguf.write_shape(writer, config.to_dict() | {"rope_theta": rope["rope_theta"]})
    writer.add_rope_dimension_sections([*rope["mrope_section"], 0])
    writer.add_num_deepstack_layers(len(made.config.vision_config.deepstack_visual_indexes))
    _write_tokenizer(writer, config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3VL, config.num_hidden_layers)
    for name, weight in made.named_parameters():
        if "visual." not in name:
            known = names.get_name(name.replace("language_model.", ""), try_suffixes=(".weight",))
            assert known is not None, name
            writer.add_tensor(known, _numbers(weight))
    _finish(writer)


def _write_tokenizer(writer: Any, config: Any) -> None:
    tokenizer = tiny_checkpoints.tokenizer()
    parts = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = [f"[PAD{number}]" for number in range(config.vocab_size)]
    kinds = [gguf.TokenType.UNUSED] * len(tokens)
    for text, number in parts["vocab"].items():
        special = text in tiny_checkpoints.SPECIALS
        tokens[number] = text
        kinds[number] = gguf.TokenType.CONTROL if special else gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in parts["merges"]])
    writer.add_eos_token_id(tiny_checkpoints.END)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tiny_checkpoints.TEMPLATE)


def _write_vision(path: Path, made: Any, processor: Any) -> None:
    config, text = made.config.vision_config, made.config.text_config
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(gguf.VisionProjectorType.QWEN3VL)
    writer.add_vision_use_gelu(True)
    for name, value in {
        "projection_dim": config.out_hidden_size, "patch_size": config.patch_size,
        "image_size": int(config.num_position_embeddings**0.5) * config.patch_size,
        "embedding_length": config.hidden_size, "feed_forward_length": config.intermediate_size,
        "block_count": config.depth, "head_count": config.num_heads,
        "image_mean": list(processor.image_mean), "image_std": list(processor.image_std),
        "spatial_merge_size": config.spatial_merge_size,
        "attention_layernorm_eps": text.rms_norm_eps,
        "is_deepstack_layers": [
            layer in config.deepstack_visual_indexes for layer in range(config.depth)
        ],
    }.items():  # fmt: skip
        getattr(writer, f"add_vision_{name}")(value)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, config.depth)
    for name, weight in made.named_parameters():
        if "visual." not in name:
            continue
        inner = name.partition("visual.")[2]
        for known, values in _tensors(inner, _numbers(weight), config, names):
            writer.add_tensor(known, np.ascontiguousarray(values))
    _finish(writer)


def _tensors(
    name: str, values: NDArray[np.float32], config: Any, names: Any
) -> Iterable[tuple[str, NDArray[np.float32]]]:
    match name.split("."):
        case ["patch_embed", "proj", "weight"]:  # a convolution over two frames
            yield "v.patch_embd.weight", values[:, :, 0]
            yield "v.patch_embd.weight.1", values[:, :, 1]
        case ["patch_embed", "proj", "bias"]:
            yield "v.patch_embd.bias", values
        case ["merger", "norm", kind]:
            yield f"v.post_ln.{kind}", values
        case ["merger", layer, kind]:
            yield f"mm.{0 if layer == 'linear_fc1' else 2}.{kind}", values
        case ["deepstack_merger_list", number, layer, kind]:
            block = config.deepstack_visual_indexes[int(number)]
            yield f"v.deepstack.{block}.{MERGERS[layer]}.{kind}", values
        case _:
            known = names.get_name(f"visual.{name}", try_suffixes=(".weight", ".bias"))
            assert known is not None, name
            yield known, values


def _numbers(weight: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = weight.detach().numpy()
    return found


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
