"""Whisper repositories with random weights, as written by transformers, in all supported layouts.

Widths, layers and heads are reduced; vocabulary, token ids, mel bins, positions and the keys of the
files are those of the named models. The tokenizers are OpenAI's, from the demo's weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from fleet_prepare import whisper
from fleet_prepare.conversion import Conversion

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Kind:
    """`layers` of encoder and decoder; `layout` is the variant of the repository's files."""

    vocab_size: int
    mels: int
    layers: tuple[int, int]
    heads: int
    layout: str = ""
    dtype: torch.dtype = torch.float32

    @property
    def english(self) -> bool:
        return self.vocab_size == 51864


KINDS = {
    "openai/whisper-tiny": Kind(51865, 80, (2, 4), 3),
    "openai/whisper-tiny.en": Kind(51864, 80, (2, 4), 3, "slow tokenizer"),
    "openai/whisper-large-v2": Kind(51865, 80, (2, 6), 5, "shards"),
    "BELLE-2/Belle-whisper-large-v3-zh": Kind(51866, 128, (2, 6), 5, dtype=torch.float16),
    "openai/whisper-large-v3-turbo": Kind(51866, 128, (2, 4), 5, "stored output", torch.float16),
    "distil-whisper/distil-large-v3.5": Kind(51866, 128, (2, 2), 5, "no prefix", torch.bfloat16),
    "distil-whisper/distil-small.en": Kind(51864, 80, (2, 4), 3, "untied output"),
}


@dataclass(frozen=True)
class Repository:
    """`model` computes in float32 with the stored weights."""

    folder: Path
    model: WhisperForConditionalGeneration
    ids: dict[str, int]
    suppressed: list[int]
    kind: Kind

    def prompt(self, timestamps: bool) -> list[int]:
        """Special tokens before an English transcript."""
        names = ["<|startoftranscript|>"]
        names += [] if self.kind.english else ["<|en|>", "<|transcribe|>"]
        names += [] if timestamps else ["<|notimestamps|>"]
        return [self.ids[name] for name in names]


def tokenizer_json(kind: Kind, demo: Callable[[str], Path]) -> tuple[dict[str, Any], list[int]]:
    """OpenAI's tokenizer with the ids of `kind`, and the suppressed tokens of these models."""
    folder = demo("Systran/faster-whisper-tiny.en" if kind.english else "openai/whisper-base")
    content = json.loads((folder / "tokenizer.json").read_text())
    suppressed = json.loads((folder / "config.json").read_text())["suppress_ids"]
    if kind.vocab_size == 51866:
        # large-v3 has one more language, after the others, and renames a token.
        names = [token["content"] for token in content["added_tokens"]]
        first = content["added_tokens"][0]["id"]
        names.insert(names.index("<|translate|>"), "<|yue|>")
        names[names.index("<|nocaptions|>")] = "<|nospeech|>"
        plain = {key: content["added_tokens"][0][key] for key in content["added_tokens"][0]}
        content["added_tokens"] = [
            plain | {"id": first + index, "content": name} for index, name in enumerate(names)
        ]
        content["post_processor"] = None
        suppressed = [number + (number >= first + 101) for number in suppressed]
    return content, suppressed


def write(folder: Path, name: str, demo: Callable[[str], Path]) -> Repository:
    """Write a repository with the layout of `name` in KINDS."""
    kind = KINDS[name]
    tokenizer, suppressed = tokenizer_json(kind, demo)
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    torch.manual_seed(len(name))
    special = {
        "bos_token_id": end, "eos_token_id": end, "pad_token_id": end,
        "decoder_start_token_id": start,
    }  # fmt: skip
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=kind.vocab_size, num_mel_bins=kind.mels, d_model=8 * kind.heads,
            encoder_layers=kind.layers[0], decoder_layers=kind.layers[1],
            encoder_attention_heads=kind.heads, decoder_attention_heads=kind.heads,
            encoder_ffn_dim=128, decoder_ffn_dim=160, init_std=0.3,
            tie_word_embeddings=kind.layout != "untied output", suppress_tokens=None,
            begin_suppress_tokens=None, **special,
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            # Biases and norms are initialized with zeros and ones, which would hide swapped
            # tensors.
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    languages = {key: ids[key] for key in ids if start < ids[key] < ids["<|translate|>"]}
    multilingual = {
        "lang_to_id": languages,
        "task_to_id": {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")},
    }
    model.generation_config = GenerationConfig(
        alignment_heads=[[kind.layers[1] - 1, 0], [kind.layers[1] - 1, 2], [0, 1]],
        suppress_tokens=suppressed, begin_suppress_tokens=[220, end],
        is_multilingual=not kind.english, no_timestamps_token_id=ids["<|notimestamps|>"],
        max_initial_timestamp_index=50, prev_sot_token_id=ids["<|startofprev|>"], max_length=448,
        **special, **({} if kind.english else multilingual),
    )  # fmt: skip
    size = "5MB" if kind.layout == "shards" else "1GB"
    model.to(kind.dtype).save_pretrained(folder, max_shard_size=size)
    WhisperFeatureExtractor(feature_size=kind.mels).save_pretrained(folder)
    _write_tokenizer(folder, tokenizer, kind)
    _rewrite_weights(folder, kind)
    return Repository(folder, model.float().eval(), ids, suppressed, kind)


def _write_tokenizer(folder: Path, content: dict[str, Any], kind: Kind) -> None:
    if kind.layout != "slow tokenizer":
        (folder / "tokenizer.json").write_text(json.dumps(content))
        return
    merges = ["#version: 0.2", *content["model"]["merges"]]
    added = {token["content"]: token["id"] for token in content["added_tokens"][1:]}
    (folder / "vocab.json").write_text(json.dumps(content["model"]["vocab"]))
    (folder / "merges.txt").write_text("\n".join(merges) + "\n")
    (folder / "added_tokens.json").write_text(json.dumps(added))


def _rewrite_weights(folder: Path, kind: Kind) -> None:
    if kind.layout not in ("no prefix", "stored output"):
        return
    weights = load_file(folder / WEIGHTS)
    if kind.layout == "no prefix":
        weights = {name.removeprefix("model."): value for name, value in weights.items()}
    else:
        weights["proj_out.weight"] = weights["model.decoder.embed_tokens.weight"].clone()
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def convert(source: Path, target: Path, quantization: str = "float32") -> Path:
    target.mkdir()
    whisper.convert(
        Conversion(source, target, quantization, lambda done, total: None, lambda: None, {})
    )
    return target


def recordings(kind: Kind, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Two random spectrograms `[2, mels, 3000]`."""
    made = np.random.default_rng(seed).standard_normal((2, kind.mels, 3000)) * 0.5
    return made.astype(np.float32)
