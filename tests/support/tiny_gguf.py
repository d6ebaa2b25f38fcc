"""The repositories of tiny_chat as GGUF files with float32 weights, as llama.cpp converts them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from support import tiny_chat

PRE_TOKENIZERS = {"llama": "llama-bpe", "qwen": "qwen2"}
FIRST_TOKEN = {"llama": True, "qwen": False}
"""Whether the tokenizer begins a text with a special token."""


RERANK_TEMPLATE = "<|im_start|>user\n<Query>: {query}\n<Document>: {document}<|im_end|>\n"
"""In the form of Qwen3-Reranker's, filled in by llama.cpp."""
YES, NO = 100, 101
"""Token ids of the labels of a reranker; their rows of `lm_head` are its classifier."""


def write(
    path: Path,
    config: Mapping[str, Any],
    seed: int = 0,
    *,
    pooling: gguf.PoolingType | None = None,
    pre: str | None = None,
    sentencepiece: bool = False,
) -> Path:
    """Write the weights of `tiny_chat.write` with the same arguments to a GGUF file.

    With `pooling` RANK it is a reranker of Qwen3's form. `pre` is the name of another vocabulary's
    way to divide a text into words; with `sentencepiece` it is of that kind.
    """
    family = config["model_type"]
    writer = gguf.GGUFWriter(path, family)
    write_shape(writer, config)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    if sentencepiece:
        _write_sentencepiece(writer, config)
    else:
        write_tokenizer(writer, config, pre)
    names = gguf.get_tensor_name_map(architecture(family), config["num_hidden_layers"])
    tensors = tiny_chat.random_tensors(config, seed)
    if pooling is gguf.PoolingType.RANK:
        writer.add_array(f"{family}.classifier.output_labels", ["yes", "no"])
        writer.add_chat_template([{"name": "rerank", "template": RERANK_TEMPLATE}])
        writer.add_tensor("cls.output.weight", tensors["lm_head.weight"][[YES, NO]])
    for name, values in tensors.items():
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert known is not None, name
        writer.add_tensor(known, ordered(name, values, config))
    if (config.get("rope_scaling") or {}).get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", _rope_factors(config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def architecture(family: str) -> gguf.MODEL_ARCH:
    """The architecture with this name."""
    return next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family)


def _head(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def write_shape(writer: Any, config: Mapping[str, Any]) -> None:
    """The hyperparameters in `config`, in the keys of transformers."""
    for name, value in {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "head_count": config["num_attention_heads"],
        "head_count_kv": config["num_key_value_heads"],
        "layer_norm_rms_eps": config["rms_norm_eps"], "rope_freq_base": config["rope_theta"],
        "rope_dimension_count": _head(config), "key_length": _head(config),
        "value_length": _head(config), "vocab_size": config["vocab_size"],
    }.items():  # fmt: skip
        getattr(writer, f"add_{name}")(value)


def write_tokenizer(writer: Any, config: Mapping[str, Any], pre: str | None = None) -> None:
    """The tokenizer of tiny_chat, Llama's or Qwen's by `model_type`."""
    kind = "llama" if config["model_type"] == "llama" else "qwen"
    parts = json.loads(tiny_chat.tokenizer(kind).to_str())["model"]
    tokens = [f"[PAD{number}]" for number in range(config["vocab_size"])]
    kinds = [gguf.TokenType.UNUSED] * len(tokens)
    for text, number in parts["vocab"].items():
        special = text in tiny_chat.SPECIALS[kind]
        tokens[number] = text
        kinds[number] = gguf.TokenType.CONTROL if special else gguf.TokenType.NORMAL
    ends = config["eos_token_id"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre or PRE_TOKENIZERS[kind])
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in parts["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(ends[-1] if isinstance(ends, list) else ends)
    writer.add_add_bos_token(FIRST_TOKEN[kind])
    writer.add_chat_template(
        tiny_chat.LLAMA_TEMPLATE if kind == "llama" else tiny_chat.QWEN_TEMPLATE
    )


def _write_sentencepiece(writer: Any, config: Mapping[str, Any]) -> None:
    """A vocabulary of the kind of Llama 2 and Gemma: tokens with scores, and single bytes."""
    special = ["<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>"]
    normal = ["\u2581", *"abcdefghijklmnopqrstuvwxyz0123456789", "\u2581a", "\u2581th", "th", "im"]
    tokens = [*special, *(f"<0x{value:02X}>" for value in range(256)), *normal]
    kinds = [gguf.TokenType.CONTROL] * len(special)
    kinds[2] = gguf.TokenType.UNKNOWN
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(normal)
    unused = config["vocab_size"] - len(tokens)
    tokens += [f"[PAD{number}]" for number in range(unused)]
    kinds += [gguf.TokenType.UNUSED] * unused
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_scores([float(len(token)) for token in tokens])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(4)
    writer.add_unk_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)
    writer.add_chat_template(tiny_chat.QWEN_TEMPLATE)


def ordered(
    name: str, values: NDArray[np.float32], config: Mapping[str, Any]
) -> NDArray[np.float32]:
    """llama.cpp rotates neighbouring dimensions of Llama's heads, transformers both halves."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
    kind = next((heads[part] for part in heads if part in name), None)
    if config["model_type"] != "llama" or kind is None:
        return values
    number = config[kind]
    halves = values.reshape(number, 2, values.shape[0] // number // 2, -1)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _rope_factors(config: Mapping[str, Any]) -> NDArray[np.float32]:
    """Llama 3.1's scaling of each frequency (transformers, modeling_rope_utils.py)."""
    scaling, size = config["rope_scaling"], _head(config)
    context = scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    factors = []
    for number in range(0, size, 2):
        wavelength = 2 * math.pi * config["rope_theta"] ** (number / size)
        smooth = min(max((context / wavelength - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - smooth) / scaling["factor"] + smooth))
    return np.array(factors, dtype=np.float32)
