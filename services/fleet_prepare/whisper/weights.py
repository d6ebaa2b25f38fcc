"""The tensors of a checkpoint as variables of CTranslate2's Whisper specification.

Names and shapes: transformers' WhisperForConditionalGeneration. CTranslate2 joins the query, key
and value projections of self-attention, and key and value of cross-attention.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from ctranslate2.specs import whisper_spec

from fleet_prepare.safetensors_file import Tensors
from fleet_prepare.whisper.shape import Shape
from fleet_prepare.whisper.variables import Plain, Quantized, Scales, Stack
from fleet_weights.errors import WeightsError

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
LAYER = re.compile(r"(?:model\.)?(?:encoder|decoder)\.layers\.")
EMBEDDING = "decoder.embed_tokens.weight"
OUTPUT = "proj_out.weight"


class Checkpoint:
    """Tensors by their names without `model.`, checked; records which were taken.

    `read` is called with the size in bytes of each tensor that has been read.
    """

    def __init__(self, tensors: Tensors, quantization: str, read: Callable[[int], None]) -> None:
        self._tensors = tensors
        self._read = read
        self._int8 = quantization.startswith("int8")
        self._dtype = "float16" if quantization.endswith("float16") else "float32"
        named = any(name.startswith("model.") for name in tensors.names)
        self._prefix = "model." if named else ""
        self._taken: set[str] = set()

    def linear(self, spec: Any, names: tuple[str, ...], shape: tuple[int, ...]) -> None:
        """Set weight and bias of the layers `names`, joined; each weight has `shape`.

        A layer without a bias gets zeros if any of the others has one.
        """
        self.weight(spec, tuple(f"{name}.weight" for name in names), shape)
        biases = tuple(f"{name}.bias" for name in names)
        if any(self._prefix + bias in self._tensors for bias in biases):
            spec.bias = Plain(self._stack(biases, shape[:1], optional=True), self._dtype)

    def weight(self, spec: Any, names: tuple[str, ...], shape: tuple[int, ...]) -> None:
        stack = self._stack(names, shape)
        if self._int8:
            spec.weight = Quantized(stack)
            spec.weight_scale = Scales(spec.weight)
        else:
            spec.weight = Plain(stack, self._dtype)

    def norm(self, spec: Any, name: str, size: int) -> None:
        spec.gamma = self.plain(f"{name}.weight", (size,))
        spec.beta = self.plain(f"{name}.bias", (size,))

    def plain(self, name: str, shape: tuple[int, ...]) -> Plain:
        return Plain(self._stack((name,), shape), self._dtype)

    def is_tied(self) -> bool:
        """Whether the output projection is the embedding: not stored, or stored as a copy."""
        if OUTPUT not in self._tensors:
            return True
        first, second = self._full(EMBEDDING), OUTPUT
        if self._tensors.shape(first) != self._tensors.shape(second):
            return False
        rows, step = self._tensors.shape(first)[0], 4096
        return all(
            np.array_equal(
                self._tensors.read_rows(first, start, min(start + step, rows)),
                self._tensors.read_rows(second, start, min(start + step, rows)),
            )
            for start in range(0, rows, step)
        )

    def check_layers(self) -> None:
        """Raises WeightsError if there are more layers than config.json has."""
        left = sorted(set(self._tensors.names) - self._taken)
        for name in left:
            if LAYER.match(name):
                raise WeightsError(
                    f"{self._tensors.path(name)} holds {name!r}, a layer beyond those of "
                    "config.json."
                )

    def _full(self, name: str) -> str:
        return name if name == OUTPUT else self._prefix + name

    def _stack(
        self, names: tuple[str, ...], shape: tuple[int, ...], optional: bool = False
    ) -> Stack:
        parts = tuple(
            shape[0] if optional and self._full(name) not in self._tensors else self._full(name)
            for name in names
        )
        for part in parts:
            if isinstance(part, str):
                self._check(part, shape)
        self._taken.update(part for part in parts if isinstance(part, str))
        return Stack(self._tensors, parts, (shape[0] * len(parts), *shape[1:]), self._read)

    def _check(self, name: str, shape: tuple[int, ...]) -> None:
        found, stored = self._tensors.shape(name), self._tensors.dtype(name)
        if found != shape:
            raise WeightsError(
                f"{self._tensors.path(name)}: tensor {name!r} has shape {list(found)}; config.json "
                f"implies {list(shape)}."
            )
        if stored not in FLOATS:
            raise WeightsError(
                f"{self._tensors.path(name)}: tensor {name!r} is stored as {stored}.",
                f"Use a repository with weights in {', '.join(sorted(FLOATS))}.",
            )


def specification(checkpoint: Checkpoint, shape: Shape) -> whisper_spec.WhisperSpec:
    """Raises WeightsError that names a tensor which is missing or has another shape."""
    spec = whisper_spec.WhisperSpec(
        shape.encoder_layers, shape.encoder_attention_heads,
        shape.decoder_layers, shape.decoder_attention_heads,
    )  # fmt: skip
    _encoder(checkpoint, spec.encoder, shape)
    _decoder(checkpoint, spec.decoder, shape)
    checkpoint.check_layers()
    return spec


def _encoder(checkpoint: Checkpoint, spec: Any, shape: Shape) -> None:
    width = shape.d_model
    checkpoint.linear(spec.conv1, ("encoder.conv1",), (width, shape.num_mel_bins, 3))
    checkpoint.linear(spec.conv2, ("encoder.conv2",), (width, width, 3))
    spec.position_encodings.encodings = checkpoint.plain(
        "encoder.embed_positions.weight", (shape.max_source_positions, width)
    )
    for number, layer in enumerate(spec.layer):
        name = f"encoder.layers.{number}"
        _self_attention(checkpoint, layer.self_attention, name, width)
        _feed_forward(checkpoint, layer.ffn, name, width, shape.encoder_ffn_dim)
    checkpoint.norm(spec.layer_norm, "encoder.layer_norm", width)


def _decoder(checkpoint: Checkpoint, spec: Any, shape: Shape) -> None:
    width = shape.d_model
    table = (shape.vocab_size, width)
    checkpoint.weight(spec.embeddings, (EMBEDDING,), table)
    spec.position_encodings.encodings = checkpoint.plain(
        "decoder.embed_positions.weight", (shape.max_target_positions, width)
    )
    for number, layer in enumerate(spec.layer):
        name = f"decoder.layers.{number}"
        _self_attention(checkpoint, layer.self_attention, name, width)
        _cross_attention(checkpoint, layer.attention, name, width)
        _feed_forward(checkpoint, layer.ffn, name, width, shape.decoder_ffn_dim)
    checkpoint.norm(spec.layer_norm, "decoder.layer_norm", width)
    if checkpoint.is_tied():
        # CTranslate2 stores the second of two equal variables, and its scales, as an alias.
        spec.projection.weight = spec.embeddings.weight
    else:
        checkpoint.weight(spec.projection, (OUTPUT,), table)


def _self_attention(checkpoint: Checkpoint, spec: Any, layer: str, width: int) -> None:
    name = f"{layer}.self_attn"
    inputs = (f"{name}.q_proj", f"{name}.k_proj", f"{name}.v_proj")
    checkpoint.norm(spec.layer_norm, f"{layer}.self_attn_layer_norm", width)
    checkpoint.linear(spec.linear[0], inputs, (width, width))
    checkpoint.linear(spec.linear[1], (f"{name}.out_proj",), (width, width))


def _cross_attention(checkpoint: Checkpoint, spec: Any, layer: str, width: int) -> None:
    name = f"{layer}.encoder_attn"
    inputs = (f"{name}.k_proj", f"{name}.v_proj")
    checkpoint.norm(spec.layer_norm, f"{layer}.encoder_attn_layer_norm", width)
    checkpoint.linear(spec.linear[0], (f"{name}.q_proj",), (width, width))
    checkpoint.linear(spec.linear[1], inputs, (width, width))
    checkpoint.linear(spec.linear[2], (f"{name}.out_proj",), (width, width))


def _feed_forward(checkpoint: Checkpoint, spec: Any, layer: str, width: int, inner: int) -> None:
    checkpoint.norm(spec.layer_norm, f"{layer}.final_layer_norm", width)
    checkpoint.linear(spec.linear_0, (f"{layer}.fc1",), (inner, width))
    checkpoint.linear(spec.linear_1, (f"{layer}.fc2",), (width, inner))
