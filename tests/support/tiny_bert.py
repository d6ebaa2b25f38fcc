"""Tiny random encoders in the layout of a hub repository, written without torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

HIDDEN, LAYERS, INNER, POSITIONS = 16, 2, 32, 24
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = [f"w{number}" for number in range(60)]


def bert_config(**changes: Any) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "vocab_size": len(SPECIALS) + len(WORDS),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    } | changes


def bert_tensors(prefix: str = "", *, head: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(SPECIALS) + len(WORDS), HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
    }
    for layer in range(LAYERS):
        base = f"encoder.layer.{layer}."
        for name, out, size in (
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", INNER, HIDDEN),
            ("output.dense", HIDDEN, INNER),
        ):
            shapes |= {f"{base}{name}.weight": (out, size), f"{base}{name}.bias": (out,)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{base}{name}.weight": (HIDDEN,), f"{base}{name}.bias": (HIDDEN,)}
    if head:
        shapes |= {"pooler.dense.weight": (HIDDEN, HIDDEN), "pooler.dense.bias": (HIDDEN,)}
    made = {
        f"{prefix}{name}": rng.standard_normal(shape).astype(np.float32) * np.float32(0.3)
        + np.float32(name.endswith("LayerNorm.weight"))
        for name, shape in shapes.items()
    }
    if head:
        made |= {
            "classifier.weight": rng.standard_normal((1, HIDDEN)).astype(np.float32),
            "classifier.bias": np.zeros(1, np.float32),
        }
    return made


def write_tokenizer(folder: Path) -> None:
    """Word-level, with the truncation and padding settings that some repositories leave enabled."""
    vocab = {word: number for number, word in enumerate(SPECIALS + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture
def tiny_encoder(tmp_path: Path) -> Callable[..., Path]:
    """Write a model folder: `tensors` (default: a BERT) and changes of `config`."""

    def write(tensors: dict[str, np.ndarray] | None = None, **config: Any) -> Path:
        save_file(tensors or bert_tensors(), tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text(json.dumps(bert_config(**config)))
        write_tokenizer(tmp_path)
        return tmp_path

    return write


@pytest.fixture
def encoder_tensors() -> Callable[..., dict[str, np.ndarray]]:
    return bert_tensors
