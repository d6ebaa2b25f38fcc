"""Decides which repositories the openvino encoder engine serves, from names and config.json.

Pure and cheap, so it also works on a listing of the hub before anything is fetched. Field
names are those of transformers' configurations; nomic_bert's are also those of its first release,
which follow GPT-2 (huggingface.co/nomic-ai/nomic-embed-text-v1.5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

Activation = Literal["gelu_erf", "gelu_tanh", "relu", "silu"]

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu_erf",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}

SHIPPED = (
    "openvino/openvino_model.xml",
    "openvino_model.xml",
    "onnx/model.onnx",
    "model.onnx",
)
"""Graphs that repositories ship, in order of preference."""

_WEIGHTS = re.compile(r"(0_[^/]*/)?model[^/]*\.safetensors")
_TOKENIZER = re.compile(r"(0_[^/]*/)?tokenizer\.json")


def supports(names: Collection[str], config: Mapping[str, Any]) -> str | None:
    """Why the engine serves a repository of these files, or None if it does not.

    `names` are the paths of the files that are in the folder, or will be (for a listing:
    `fleet_weights.hub.selection.choose`), `config` is the parsed config.json.
    """
    if refusal(names, config) is not None:
        return None
    if (shipped := shipped_graph(names, config)) is not None:
        return f"the repo ships {shipped}"
    return f"its {config['model_type']} graph is built from the safetensors"


def refusal(names: Collection[str], config: Mapping[str, Any]) -> str | None:
    """Why the engine does not serve a repository, or None if it does; arguments as for
    `supports`."""
    if not config:
        return "it holds no config.json"
    if not any(_TOKENIZER.fullmatch(name) for name in names):
        return "it holds no tokenizer.json"
    if shipped_graph(names, config) is not None:
        return None
    if not _has_safetensors(names):
        return f"it holds no model.safetensors and no {' or '.join(SHIPPED)}"
    return graph_refusal(config)


def shipped_graph(names: Collection[str], config: Mapping[str, Any]) -> str | None:
    """The shipped graph that is loaded, or None if the graph is built from safetensors."""
    if _has_safetensors(names) and graph_refusal(config) is None:
        return None
    return next((name for name in SHIPPED if name in names), None)


def graph_refusal(config: Mapping[str, Any]) -> str | None:
    """Why no graph can be built for this config.json, or None if one can."""
    family = config.get("model_type")
    check = FAMILIES.get(family) if isinstance(family, str) else None
    if check is None:
        return f"model_type {family!r} is not supported ({KNOWN} are)"
    if config.get("quantization_config"):
        return "its weights are quantized"
    return check(config)


def _bert(config: Mapping[str, Any]) -> str | None:
    if config.get("is_decoder"):
        return "it is a decoder"
    if config.get("position_embedding_type", "absolute") != "absolute":
        return f"position_embedding_type {config['position_embedding_type']!r} is not supported"
    if config.get("embedding_size", config.get("hidden_size")) != config.get("hidden_size"):
        return "its embedding size differs from its hidden size"
    return _activation(config, "hidden_act", "gelu")


def _gemma3(config: Mapping[str, Any]) -> str | None:
    if config.get("use_bidirectional_attention") is not True:
        return "it is a decoder (use_bidirectional_attention is not true)"
    if config.get("attn_logit_softcapping") is not None:
        return "attn_logit_softcapping is not supported"
    return _rope(config) or _activation(config, "hidden_activation", "gelu_pytorch_tanh")


def _modernbert(config: Mapping[str, Any]) -> str | None:
    return _rope(config) or _activation(config, "hidden_activation", "gelu")


def _nomic(config: Mapping[str, Any]) -> str | None:
    for field, usual in NOMIC_USUAL.items():
        if config.get(field, usual) not in (usual, None):
            return f"{field} {config[field]!r} is not supported"
    return _rope(config) or _activation(config, "hidden_act", "silu")


def _activation(config: Mapping[str, Any], field: str, default: str) -> str | None:
    named = config.get(field, default)
    if not isinstance(named, str) or named not in ACTIVATIONS:
        return f"{field} {named!r} is not supported"
    return None


def _rope(config: Mapping[str, Any]) -> str | None:
    """Refuses scaled rotary positions."""
    given = [config.get("rope_scaling"), config.get("rope_parameters")]
    for entry in [entry for entry in given if isinstance(entry, Mapping)]:
        for part in [entry, *(value for value in entry.values() if isinstance(value, Mapping))]:
            kind = part.get("rope_type", part.get("type", "default"))
            if kind != "default":
                return f"rope_type {kind!r} is not supported"
    return None


NOMIC_USUAL: dict[str, Any] = {
    "activation_function": "swiglu",
    "causal": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "moe_every_n_layers": 0,
    "num_experts": 0,
    "parallel_block": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "use_rms_norm": False,
}
"""The values that the graph of nomic_bert implements; also the defaults."""

FAMILIES: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "bert": _bert,
    "roberta": _bert,
    "xlm-roberta": _bert,
    "camembert": _bert,
    "gemma3_text": _gemma3,
    "modernbert": _modernbert,
    "nomic_bert": _nomic,
}
"""Check of the other fields of config.json, by `model_type`."""

KNOWN = ", ".join(FAMILIES)


def _has_safetensors(names: Collection[str]) -> bool:
    return any(_WEIGHTS.fullmatch(name) for name in names)
