"""Hugging Face checkpoints of Whisper for benchmarks: random full-size ones, and the weights of a
CTranslate2 model with their names at Hugging Face.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

SIZES = {
    "tiny": (384, 4, 80, 51865),
    "base": (512, 6, 80, 51865),
    "large-v3": (1280, 32, 128, 51866),
}
"""Width, layers, mel bins and vocabulary of OpenAI's models."""
DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
"""CTranslate2's number types by their byte in model.bin."""


def config(width: int, layers: int, mels: int, vocabulary: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper",
        "vocab_size": vocabulary, "num_mel_bins": mels, "d_model": width,
        "max_source_positions": 1500, "max_target_positions": 448, "activation_function": "gelu",
    }  # fmt: skip
    for side in ("encoder", "decoder"):
        found |= {f"{side}_layers": layers, f"{side}_attention_heads": width // 64,
                  f"{side}_ffn_dim": 4 * width}  # fmt: skip
    return found


def shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """All tensors of a checkpoint, except biases and norms of layers, which are small."""
    width = config["d_model"]
    yield "encoder.conv1.weight", (width, config["num_mel_bins"], 3)
    yield "encoder.conv2.weight", (width, width, 3)
    yield "encoder.embed_positions.weight", (config["max_source_positions"], width)
    yield "decoder.embed_positions.weight", (config["max_target_positions"], width)
    yield "decoder.embed_tokens.weight", (config["vocab_size"], width)
    for name in ("encoder.conv1.bias", "encoder.conv2.bias", "encoder.layer_norm.weight",
                 "encoder.layer_norm.bias", "decoder.layer_norm.weight",
                 "decoder.layer_norm.bias"):  # fmt: skip
        yield name, (width,)
    for side, attentions in (
        ("encoder", ("self_attn",)),
        ("decoder", ("self_attn", "encoder_attn")),
    ):
        for number in range(config[f"{side}_layers"]):
            yield from _layer(f"{side}.layers.{number}", attentions, width)


def _layer(
    layer: str, attentions: tuple[str, ...], width: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for attention in attentions:
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{layer}.{attention}.{part}.weight", (width, width)
            if part != "k_proj":
                yield f"{layer}.{attention}.{part}.bias", (width,)
        yield f"{layer}.{attention}_layer_norm.weight", (width,)
        yield f"{layer}.{attention}_layer_norm.bias", (width,)
    yield f"{layer}.fc1.weight", (4 * width, width)
    yield f"{layer}.fc1.bias", (4 * width,)
    yield f"{layer}.fc2.weight", (width, 4 * width)
    yield f"{layer}.fc2.bias", (width,)
    yield f"{layer}.final_layer_norm.weight", (width,)
    yield f"{layer}.final_layer_norm.bias", (width,)


def write_random(folder: Path, size: str, tokenizer: dict[str, Any]) -> int:
    """Write a checkpoint of random float16 weights; returns its size in bytes."""
    made = config(*SIZES[size])
    (folder / "config.json").write_text(json.dumps(made))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    header, position = {}, 0
    for name, shape in shapes(made):
        end = position + 2 * math.prod(shape)
        header[f"model.{name}"] = {"dtype": "F16", "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    block = (np.random.default_rng(0).standard_normal(1 << 22) * 0.05).astype(np.float16).tobytes()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for start in range(0, position, len(block)):
            file.write(block[: position - start])
    return position


def write_from_ctranslate2(source: Path, folder: Path) -> None:
    """Write the float16 model in `source` with the layout of Hugging Face."""
    found = variables(source / "model.bin")
    width = found["encoder/conv1/bias"].shape[0]
    layers = sum(name.startswith("decoder/layer_") and name.endswith("/ffn/layer_norm/beta")
                 for name in found)  # fmt: skip
    made = config(width, layers, found["encoder/conv1/weight"].shape[1],
                  found["decoder/embeddings/weight"].shape[0])  # fmt: skip
    save_file(
        {f"model.{name}": np.ascontiguousarray(_pick(found, name)) for name, _ in shapes(made)},
        folder / "model.safetensors",
    )
    kept = json.loads((source / "config.json").read_text())
    names = {"suppress_ids": "suppress_tokens", "suppress_ids_begin": "begin_suppress_tokens"}
    generation = {names.get(key, key): value for key, value in kept.items()}
    (folder / "config.json").write_text(json.dumps(made))
    (folder / "generation_config.json").write_text(json.dumps(generation))
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())


def _pick(found: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """The tensor with this name at Hugging Face, cut from CTranslate2's joined tensors."""
    side, *path, kind = name.split(".")
    if path[0] != "layers":
        part = {"embed_positions": "position_encodings", "embed_tokens": "embeddings"}.get(
            path[0], path[0]
        )
        ends = ("encodings",) if part == "position_encodings" else _ends(part, kind)
        return found["/".join((side, part, *ends))]
    layer, part = f"{side}/layer_{path[1]}", path[2]
    if part == "fc1" or part == "fc2":
        return found[f"{layer}/ffn/linear_{int(part[-1]) - 1}/{kind}"]
    if part.endswith("layer_norm"):
        block = {"self_attn_layer_norm": "self_attention", "encoder_attn_layer_norm": "attention"}
        return found["/".join((layer, block.get(part, "ffn"), "layer_norm", *_ends(part, kind)))]
    # Cross-attention has a projection for the query before that for key and value.
    block, first, joined = "attention", 1, ("k_proj", "v_proj")
    if part == "self_attn":
        block, first, joined = "self_attention", 0, ("q_proj", "k_proj", "v_proj")
    if path[3] in joined:
        whole = found[f"{layer}/{block}/linear_{first}/{kind}"]
        return np.split(whole, len(joined))[joined.index(path[3])]
    number = 0 if path[3] == "q_proj" else first + 1
    return found[f"{layer}/{block}/linear_{number}/{kind}"]


def _ends(part: str, kind: str) -> tuple[str, ...]:
    return ({"weight": "gamma", "bias": "beta"}[kind],) if part.endswith("layer_norm") else (kind,)


def variables(path: Path) -> dict[str, NDArray[Any]]:
    """The variables of a model.bin. Format: ctranslate2/specs/model_spec.py, `_serialize`."""
    found: dict[str, NDArray[Any]] = {}
    with path.open("rb") as file:
        _number(file, "I")
        _text(file)
        _number(file, "I")
        for _ in range(_number(file, "I")):
            name = _text(file)
            shape = [_number(file, "I") for _ in range(_number(file, "B"))]
            dtype = DTYPES[_number(file, "B")]
            found[name] = np.frombuffer(file.read(_number(file, "I")), dtype).reshape(shape)
    return found


def _number(file: BinaryIO, kind: str) -> int:
    found: int = struct.unpack(kind, file.read(struct.calcsize(kind)))[0]
    return found


def _text(file: BinaryIO) -> str:
    return file.read(_number(file, "H"))[:-1].decode()
