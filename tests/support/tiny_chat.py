"""Tiny random chat repositories with the files and configuration keys of the real ones.

Weights are written with NumPy, tokenizers are trained here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import ByteLevel, Sequence, TemplateProcessing

TEXT = [
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "Modern serving systems batch requests by their number of tokens.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Les systèmes modernes regroupent les requêtes par leur longueur.",
]
STORED = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int8": "I8"}
VOCABULARY = 384
TINY = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "hidden_act": "silu",
    "initializer_range": 0.02, "attention_dropout": 0.0, "use_cache": True,
}  # fmt: skip
LLAMA = TINY | {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False,
    "mlp_bias": False, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "tie_word_embeddings": True,
    "max_position_embeddings": 131072, "rope_theta": 500000.0, "torch_dtype": "bfloat16",
    "rope_scaling": {
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
        "original_max_position_embeddings": 64, "rope_type": "llama3",
    },
    "bos_token_id": 0, "eos_token_id": [1, 3, 4],
}  # fmt: skip
"""Keys of meta-llama/Llama-3.2-1B-Instruct; a short original context, so that its parts differ."""
QWEN3 = TINY | {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": False,
    "max_position_embeddings": 262144, "max_window_layers": 36, "rms_norm_eps": 1e-06,
    "rope_scaling": None, "rope_theta": 5000000, "sliding_window": None,
    "use_sliding_window": False, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "bos_token_id": 1, "eos_token_id": 4,
}  # fmt: skip
"""Keys of Qwen/Qwen3-4B-Instruct-2507."""
QWEN2 = {name: value for name, value in TINY.items() if name != "head_dim"} | {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "max_window_layers": 21,
    "max_position_embeddings": 32768, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "sliding_window": 32768, "use_sliding_window": False, "tie_word_embeddings": True,
    "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 4,
}  # fmt: skip
"""Keys of Qwen/Qwen2.5-0.5B-Instruct."""
FP8 = {
    "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
    "weight_block_size": [128, 128],
}  # fmt: skip
"""`quantization_config` of Qwen/Qwen3-4B-Instruct-2507-FP8."""
SPECIALS = {
    "llama": ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|eom_id|>",
              "<|eot_id|>", "<|end_header_id|>"],
    "qwen": ["<|endoftext|>", "<|bos|>", "<|pad|>", "<|im_start|>", "<|im_end|>"],
}  # fmt: skip
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_TEMPLATE = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + system + '<|eot_id|>' }}
{%- for message in messages %}
    {%- if message.role not in ('user', 'assistant') %}
        {{- raise_exception('no role ' + message.role) }}
    {%- endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
QWEN_TEMPLATE = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


def write(
    folder: Path, config: Mapping[str, Any], *, stored: str = "F32", shards: int = 1, seed: int = 0
) -> Path:
    """Write a repository to `folder`; `stored` is F32, F16 or BF16."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = random_tensors(config, seed)
    write_tensors(folder, {name: _stored(array, stored) for name, array in tensors.items()}, shards)
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder, "llama" if config["model_type"] == "llama" else "qwen")
    ends = config["eos_token_id"]
    generation = {"eos_token_id": ends, "do_sample": True, "temperature": 0.6, "top_p": 0.9}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


def random_tensors(config: Mapping[str, Any], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Float32 weights by name, rounded to bfloat16, with a variance at which every term matters."""
    rng = np.random.default_rng(seed)
    hidden, inner, words = (
        config[key] for key in ("hidden_size", "intermediate_size", "vocab_size")
    )
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    q, kv = (head * config[f"num_{kind}_heads"] for kind in ("attention", "key_value"))
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (words, hidden)}
    for layer in range(config["num_hidden_layers"]):
        base = f"model.layers.{layer}."
        for name, shape in {
            "self_attn.q_proj": (q, hidden), "self_attn.k_proj": (kv, hidden),
            "self_attn.v_proj": (kv, hidden), "self_attn.o_proj": (hidden, q),
            "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }.items():  # fmt: skip
            shapes[f"{base}{name}.weight"] = shape
            if config["model_type"] == "qwen2" and name.endswith(("q_proj", "k_proj", "v_proj")):
                shapes[f"{base}{name}.bias"] = shape[:1]
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{base}{name}.weight"] = (hidden,)
        if config["model_type"] == "qwen3":
            for name in ("q_norm", "k_norm"):
                shapes[f"{base}self_attn.{name}.weight"] = (head,)
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (words, hidden)
    return {name: _random(rng, name, shape) for name, shape in shapes.items()}


def _random(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    middle = 1.0 if "norm" in name else 0.0
    values = rng.normal(middle, 0.2, shape).astype(np.float32)
    return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _stored(array: NDArray[np.float32], stored: str) -> Any:
    if stored == "F16":
        return array.astype(np.float16)
    return (array.view(np.uint32) >> 16).astype(np.uint16) if stored == "BF16" else array


def write_tensors(folder: Path, tensors: Mapping[str, Any], shards: int = 1) -> None:
    """Write one file, or several with an index; uint16 arrays are written as bfloat16."""
    names = list(tensors)
    where: dict[str, str] = {}
    for number in range(shards):
        mine = names[number::shards]
        file = "model.safetensors" if shards == 1 else (
            f"model-{number + 1:05}-of-{shards:05}.safetensors"
        )  # fmt: skip
        write_file(folder / file, {name: tensors[name] for name in mine})
        where |= dict.fromkeys(mine, file)
    if shards > 1:
        index = {"metadata": {}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_file(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write safetensors without its package, which supports no bfloat16 for NumPy."""
    header, at = {}, 0
    for name, array in tensors.items():
        entry = {"dtype": STORED[array.dtype.name], "shape": list(array.shape)}
        header[name] = entry | {"data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(array.tobytes())


def tokenizer(kind: str) -> Tokenizer:
    """Byte-level BPE with the parts of Llama 3's (`llama`) or Qwen's (`qwen`)."""
    made = Tokenizer(models.BPE(ignore_merges=kind == "llama"))
    if kind == "qwen":
        made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 8, special_tokens=SPECIALS[kind], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train_from_iterator(TEXT * 4, trainer)
    if kind == "llama":
        begin = SPECIALS[kind][0]
        made.post_processor = Sequence([
            ByteLevel(trim_offsets=False),
            TemplateProcessing(
                single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, 0)]
            ),
        ])  # fmt: skip
    return made


def write_tokenizer(folder: Path, kind: str) -> None:
    tokenizer(kind).save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if kind == "llama":
        config |= {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
        (folder / "chat_template.jinja").write_text(LLAMA_TEMPLATE)
    else:
        config |= {
            "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
            "chat_template": QWEN_TEMPLATE,
        }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
