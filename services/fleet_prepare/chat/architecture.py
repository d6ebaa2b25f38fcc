"""The sizes and options of a decoder, read from a repository's config.json.

Key names and defaults are those of transformers' LlamaConfig, MistralConfig, Qwen2Config and
Qwen3Config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleet_prepare.chat import rope
from fleet_prepare.chat.rope import Rope
from fleet_weights.errors import WeightsError

FAMILIES = {
    "LlamaForCausalLM": "Llama",
    "MistralForCausalLM": "Mistral",
    "Qwen2ForCausalLM": "Qwen2",
    "Qwen3ForCausalLM": "Qwen3",
}
"""By transformers' name of the architecture."""
SUPPORTED = f"Chat models of the {', '.join(FAMILIES.values())} families can be converted."
ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh")
FP8_BLOCK = (128, 128)
MAX_SIZE = 1 << 24
"""A larger size means a damaged configuration."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes and options of a decoder.

    `qkv_bias`, `output_bias` and `mlp_bias`: these linear layers have a bias. `qk_norm`: queries
    and keys are normalised in each head. `tied`: the embeddings are also the last layer.
    `fp8_block`: rows and columns of a weight that share a scale, for FP8 checkpoints.
    """

    family: str
    vocab_size: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    norm_eps: float
    activation: str
    rope: Rope
    context_length: int
    tied: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    fp8_block: tuple[int, int] | None


def refusal(config: Mapping[str, Any]) -> str | None:
    """Why the model cannot be converted, or None."""
    try:
        _read(config)
    except (ValueError, TypeError, KeyError) as error:
        return str(error)
    return None


def read(config: Mapping[str, Any]) -> Architecture:
    """Raises WeightsError with the key that is missing or not supported."""
    try:
        return _read(config)
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"config.json: {error}.", SUPPORTED) from error


def _read(config: Mapping[str, Any]) -> Architecture:
    family = _family(config)
    _check_windows(config)
    heads = _size(config, "num_attention_heads")
    hidden = _size(config, "hidden_size")
    kv_heads = _size(config, "num_key_value_heads", heads)
    if heads % kv_heads:
        raise ValueError(
            f"num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"
        )
    head_size = _size(config, "head_dim", hidden // heads)
    if head_size % 2:
        raise ValueError(f"head_dim {head_size} is odd")
    activation = config.get("hidden_act", "silu")
    if activation not in ACTIVATIONS:
        raise ValueError(f"hidden_act {activation!r} is not one of {', '.join(ACTIVATIONS)}")
    bias = bool(config.get("attention_bias", False))
    return Architecture(
        family=family,
        vocab_size=_size(config, "vocab_size"),
        hidden=hidden,
        intermediate=_size(config, "intermediate_size"),
        layers=_size(config, "num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        activation=activation,
        rope=rope.read(config),
        context_length=_size(config, "max_position_embeddings"),
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=True if family == "Qwen2" else bias,
        output_bias=False if family == "Qwen2" else bias,
        mlp_bias=bool(config.get("mlp_bias", False)) if family == "Llama" else False,
        qk_norm=family == "Qwen3",
        fp8_block=_fp8_block(config.get("quantization_config")),
    )


def _family(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise ValueError(f"the architecture {name or config.get('model_type')!r} is not supported")
    return family


def _check_windows(config: Mapping[str, Any]) -> None:
    """Raises ValueError for windows; one as long as the context has no effect and is accepted."""
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and any(kind != "full_attention" for kind in kinds):
        raise ValueError("layers with sliding-window attention are not supported")
    window = config.get("sliding_window")
    used = config.get("use_sliding_window", config.get("model_type") == "mistral")
    if used and type(window) is int and window < _size(config, "max_position_embeddings"):
        raise ValueError(f"the sliding window of {window} tokens is not supported")


def _fp8_block(given: Any) -> tuple[int, int] | None:
    if given is None:
        return None
    method = given.get("quant_method") if isinstance(given, Mapping) else given
    if method != "fp8":
        raise ValueError(f"weights quantised by {method!r} are not supported")
    block = given.get("weight_block_size")
    match block:
        case [int(rows), int(columns)] if rows > 0 and columns > 0:
            return rows, columns
    raise ValueError(f"fp8 weights with weight_block_size {block!r} are not supported")


def _size(config: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = config.get(name)
    if value is None:
        value = default
    if type(value) is not int or not 0 < value <= MAX_SIZE:
        raise ValueError(f"{name} is {value!r}, not an integer from 1 to {MAX_SIZE}")
    return value
