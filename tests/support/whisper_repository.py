"""A small Whisper repository in the layout of the hub, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SPECIALS = [
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|translate|>",
    "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>",
]  # fmt: skip
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
MERGES = [("h", "e"), ("l", "l"), ("Ġ", "he")]
WORDS = {
    token: number for number, token in enumerate([*BYTES, *("".join(merge) for merge in MERGES)])
}
ADDED = {token: len(WORDS) + number for number, token in enumerate(SPECIALS)}
VOCAB_SIZE = len(WORDS) + len(ADDED) + 1501
CONFIG: dict[str, Any] = {
    "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper",
    "activation_function": "gelu", "vocab_size": VOCAB_SIZE, "num_mel_bins": 80, "d_model": 8,
    "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 12,
    "decoder_layers": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 16,
    "max_source_positions": 1500, "max_target_positions": 448,
}  # fmt: skip
GENERATION: dict[str, Any] = {
    "suppress_tokens": [1, 2, 7], "begin_suppress_tokens": [WORDS["Ġ"], ADDED["<|endoftext|>"]],
    "lang_to_id": {"<|zh|>": ADDED["<|zh|>"], "<|en|>": ADDED["<|en|>"]},
    "alignment_heads": [[1, 1]], "no_timestamps_token_id": ADDED["<|notimestamps|>"],
}  # fmt: skip

Weights = dict[str, NDArray[Any]]


def weights(config: dict[str, Any]) -> Weights:
    """Every tensor that transformers stores for `config`, in float32."""
    random = np.random.default_rng(0)
    made: Weights = {}

    def add(name: str, *shape: int) -> None:
        made[f"model.{name}"] = random.standard_normal(shape).astype(np.float32)

    def norm(name: str) -> None:
        add(f"{name}.weight", width)
        add(f"{name}.bias", width)

    width = config["d_model"]
    add("encoder.conv1.weight", width, config["num_mel_bins"], 3)
    add("encoder.conv1.bias", width)
    add("encoder.conv2.weight", width, width, 3)
    add("encoder.conv2.bias", width)
    add("encoder.embed_positions.weight", config["max_source_positions"], width)
    add("decoder.embed_positions.weight", config["max_target_positions"], width)
    add("decoder.embed_tokens.weight", config["vocab_size"], width)
    for side, attentions in (
        ("encoder", ["self_attn"]),
        ("decoder", ["self_attn", "encoder_attn"]),
    ):
        for layer in range(config[f"{side}_layers"]):
            name, inner = f"{side}.layers.{layer}", config[f"{side}_ffn_dim"]
            for attention in attentions:
                for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    add(f"{name}.{attention}.{part}.weight", width, width)
                    if part != "k_proj":
                        add(f"{name}.{attention}.{part}.bias", width)
                norm(f"{name}.{attention}_layer_norm")
            add(f"{name}.fc1.weight", inner, width)
            add(f"{name}.fc1.bias", inner)
            add(f"{name}.fc2.weight", width, inner)
            add(f"{name}.fc2.bias", width)
            norm(f"{name}.final_layer_norm")
        norm(f"{side}.layer_norm")
    return made


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE(dict(WORDS), list(MERGES)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in SPECIALS]
    )
    return made


class Repository:
    """Files to change before they are written; a file with value None is not written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = weights(CONFIG)
        self.files: dict[str, Any] = {
            "config.json": dict(CONFIG),
            "generation_config.json": dict(GENERATION),
            "preprocessor_config.json": {"feature_size": 80, "hop_length": 160},
            "tokenizer.json": json.loads(tokenizer().to_str()),
        }

    def slow_tokenizer(self) -> None:
        """The layout of old fine-tunes."""
        lines = ["#version: 0.2", *(" ".join(merge) for merge in MERGES), ""]
        end = {"<|endoftext|>": ADDED["<|endoftext|>"]}
        rest = {token: number for token, number in ADDED.items() if token not in end}
        self.files |= {
            "tokenizer.json": None, "vocab.json": WORDS | end, "merges.txt": "\n".join(lines),
            "added_tokens.json": rest,
        }  # fmt: skip

    def write(self) -> Path:
        for name, content in self.files.items():
            if content is not None:
                text = content if isinstance(content, str) else json.dumps(content)
                (self.folder / name).write_text(text)
        save_file(self.weights, self.folder / "model.safetensors")
        return self.folder
