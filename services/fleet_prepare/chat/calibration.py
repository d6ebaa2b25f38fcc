"""Second moments of the inputs of a decoder's linear layers, measured on a short built-in text.

The decoder is computed in NumPy from the checkpoint, one layer at a time and in row chunks, so that
no more than one chunk of a weight is in memory. Architecture: as in `graph`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fleet_prepare.chat import rope
from fleet_prepare.chat.architecture import Architecture
from fleet_prepare.chat.checkpoint import Checkpoint
from fleet_prepare.number_formats import Float32
from fleet_weights.errors import WeightsError

TEXT = Path(__file__).with_name("calibration.txt")
MAX_TOKENS = 1024
WINDOW = 256
"""Tokens that attend to each other."""
EMBEDDINGS = "model.embed_tokens.weight"


def token_ids(tokenizer: Path, vocab_size: int) -> list[int]:
    """The text in tokens of a tokenizer.json, at most MAX_TOKENS. Raises WeightsError."""
    from tokenizers import Tokenizer

    try:
        # The library raises bare Exception.
        encoded = Tokenizer.from_file(str(tokenizer)).encode(TEXT.read_text(encoding="utf-8"))
    except Exception as error:
        raise WeightsError(f"{tokenizer} is not a tokenizer: {error}.") from error
    return [index for index in encoded.ids if index < vocab_size][:MAX_TOKENS]


class Calibration:
    """Input moments of the linear layers of a checkpoint, layer after layer."""

    def __init__(self, arch: Architecture, checkpoint: Checkpoint, ids: list[int]) -> None:
        self._arch = arch
        self._checkpoint = checkpoint
        self._hidden: Float32 | None = None
        self._ids = ids
        self._layer = -1
        self._moments: dict[str, Float32] = {}
        turns, scale = rope.frequencies(arch.rope, arch.head_size)
        angles = np.outer(np.arange(WINDOW, dtype=np.float32), np.concatenate([turns, turns]))
        self._cos, self._sin = np.cos(angles) * scale, np.sin(angles) * scale

    def moments(self, name: str) -> Float32:
        """Mean of `x xT` over the text, `[in, in]`, of the input x of the weight `name`.

        Layers must be requested in ascending order: earlier ones are no longer in memory.
        """
        number = int(name.split(".")[2])
        if number < self._layer:
            raise ValueError(f"layer {number} was computed before layer {self._layer}")
        if self._hidden is None:
            self._hidden = self._checkpoint.picked(
                EMBEDDINGS, (self._arch.vocab_size, self._arch.hidden), self._ids
            )
        while self._layer < number:
            self._layer += 1
            self._moments.clear()
            self._hidden = self._computed(self._hidden, f"model.layers.{self._layer}.")
        return self._moments[name]

    def _computed(self, x: Float32, base: str) -> Float32:
        """The output of one layer `[tokens, hidden]`."""
        arch = self._arch
        normal = self._norm(x, f"{base}input_layernorm.weight", arch.hidden)
        attention = f"{base}self_attn."
        self._keep(normal, *(f"{attention}{kind}_proj" for kind in "qkv"))
        mixed = self._attention(normal, attention)
        self._keep(mixed, f"{attention}o_proj")
        x = x + self._linear(mixed, f"{attention}o_proj", arch.hidden, arch.output_bias)
        normal = self._norm(x, f"{base}post_attention_layernorm.weight", arch.hidden)
        self._keep(normal, f"{base}mlp.gate_proj", f"{base}mlp.up_proj")
        gate = self._linear(normal, f"{base}mlp.gate_proj", arch.intermediate, arch.mlp_bias)
        inner = _activation(gate, arch.activation)
        inner *= self._linear(normal, f"{base}mlp.up_proj", arch.intermediate, arch.mlp_bias)
        return x + self._linear(inner, f"{base}mlp.down_proj", arch.hidden, arch.mlp_bias)

    def _keep(self, x: Float32, *layers: str) -> None:
        moments: Float32 = (x.T @ x) / np.float32(len(x))
        self._moments |= {f"{layer}.weight": moments for layer in layers}

    def _attention(self, x: Float32, base: str) -> Float32:
        """Mixed values `[tokens, heads * head_size]`, causal within each window."""
        arch = self._arch
        query = self._heads(x, f"{base}q", arch.heads)
        key = self._heads(x, f"{base}k", arch.kv_heads)
        value = self._heads(x, f"{base}v", arch.kv_heads)
        mixed = np.empty_like(query)
        times = arch.heads // arch.kv_heads
        for start in range(0, len(x), WINDOW):
            window = slice(start, start + WINDOW)
            # [heads, length, head_size]
            q = self._rotated(query[window]).transpose(1, 0, 2)
            k = np.repeat(self._rotated(key[window]).transpose(1, 0, 2), times, axis=0)
            v = np.repeat(value[window].transpose(1, 0, 2), times, axis=0)
            scores = q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(arch.head_size))
            scores += np.triu(np.full(scores.shape[1:], -np.inf, np.float32), 1)
            np.exp(scores - scores.max(axis=2, keepdims=True), out=scores)
            scores /= scores.sum(axis=2, keepdims=True)
            mixed[window] = (scores @ v).transpose(1, 0, 2)
        return mixed.reshape(len(x), -1)

    def _heads(self, x: Float32, layer: str, heads: int) -> Float32:
        arch = self._arch
        flat = self._linear(x, f"{layer}_proj", heads * arch.head_size, arch.qkv_bias)
        split = flat.reshape(len(x), heads, arch.head_size)
        if arch.qk_norm and not layer.endswith("v"):
            split = self._norm(split, f"{layer}_norm.weight", arch.head_size)
        return split

    def _rotated(self, x: Float32) -> Float32:
        first, second = np.split(x, 2, axis=2)
        turned = np.concatenate([-second, first], axis=2)
        cos, sin = self._cos[: len(x), None], self._sin[: len(x), None]
        rotated: Float32 = (x * cos + turned * sin).astype(np.float32)
        return rotated

    def _linear(self, x: Float32, layer: str, out: int, biased: bool) -> Float32:
        made = np.empty((len(x), out), np.float32)
        at = 0
        for rows in self._checkpoint.rows(f"{layer}.weight", (out, x.shape[1])):
            made[:, at : at + len(rows)] = x @ rows.T
            at += len(rows)
        if biased:
            made += self._checkpoint.vector(f"{layer}.bias", out)
        return made

    def _norm(self, x: Float32, name: str, size: int) -> Float32:
        """Root mean square norm over the last axis."""
        root = np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True) + self._arch.norm_eps)
        normal: Float32 = (x / root * self._checkpoint.vector(name, size)).astype(np.float32)
        return normal


def _activation(x: Float32, name: str) -> Float32:
    """SiLU or GELU; the tanh form of GELU for both kinds, which is close enough for moments."""
    with np.errstate(over="ignore"):
        if name == "silu":
            silu: Float32 = x / (1 + np.exp(-x))
            return silu
        # 1 + tanh(z) is 2 / (1 + exp(-2 z)).
        z = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3)
        gelu: Float32 = x / (1 + np.exp(-2 * z))
        return gelu
