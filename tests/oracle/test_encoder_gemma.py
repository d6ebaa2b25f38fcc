"""embeddinggemma on OpenVINO against transformers and its dense modules, in fp32.

Tiny random weights with the keys of the public config.json and the files of the public repository
(google/embeddinggemma-300m): Transformer, mean pooling, two dense modules, normalisation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import Gemma3TextConfig, Gemma3TextModel

from fleet_contract.spec import ModelSpec
from fleet_server.engines.openvino.encoder import EmbeddingEngine
from fleet_server.engines.torch import TorchEmbedding

CONFIG: dict[str, Any] = {
    "_sliding_window_pattern": 6,
    "architectures": ["Gemma3TextModel"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": None,
    "bos_token_id": 2,
    "dtype": "float32",
    "eos_token_id": 1,
    "final_logit_softcapping": None,
    "head_dim": 32,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 48,
    "initializer_range": 0.02,
    "intermediate_size": 72,
    "layer_types": ["sliding_attention"] * 5 + ["full_attention"],
    "max_position_embeddings": 96,
    "model_type": "gemma3_text",
    "num_attention_heads": 3,
    "num_hidden_layers": 6,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 32,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": 16,
    "transformers_version": "4.57.0.dev0",
    "use_bidirectional_attention": True,
    "use_cache": True,
    "vocab_size": 300,
}
"""The public file with smaller numbers; as there, a window is an eighth of the longest input."""
PROMPTS = {
    "query": "task: search result | query: ",
    "document": "title: none | text: ",
    "STS": "task: sentence similarity | query: ",
}
MODULES = [
    ("", "Transformer"),
    ("1_Pooling", "Pooling"),
    ("2_Dense", "Dense"),
    ("3_Dense", "Dense"),
    ("4_Normalize", "Normalize"),
]
LENGTHS = (3, 7, 9, 10, 17, 40, 96)
"""Lengths within a window's reach of 8, at its edge, and far beyond it."""


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def write_tokenizer(folder: Path) -> None:
    specials = ["<pad>", "<eos>", "<bos>", "<unk>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    corpus = [*PROMPTS.values(), "The quick brown fox jumps over the lazy dog."] * 4
    tokenizer.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=300, special_tokens=specials)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def write_model(folder: Path, **changes: Any) -> None:
    """Write the files of the repository, with a variance of weights and norms at which every term
    of the graph matters.
    """
    config = CONFIG | changes
    torch.manual_seed(3)
    model = Gemma3TextModel(Gemma3TextConfig(**config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.3 if "norm" in name else 0.15)
    model.save_pretrained(folder)
    write_json(folder / "config.json", config)
    write_tokenizer(folder)
    for place, (rows, columns) in {"2_Dense": (192, 48), "3_Dense": (48, 192)}.items():
        write_json(folder / place / "config.json", {
            "in_features": columns, "out_features": rows, "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        })  # fmt: skip
        matrix = torch.randn(rows, columns) * columns**-0.5
        save_file({"linear.weight": matrix}, folder / place / "model.safetensors")
    write_json(folder / "1_Pooling" / "config.json", {
        "word_embedding_dimension": 48, "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False, "pooling_mode_weightedmean_tokens": False,
        "pooling_mode_lasttoken": False, "include_prompt": True,
    })  # fmt: skip
    write_json(folder / "modules.json", [
        {"idx": place, "name": str(place), "path": path,
         "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(MODULES)
    ])  # fmt: skip
    write_json(folder / "config_sentence_transformers.json", {
        "model_type": "SentenceTransformer", "prompts": PROMPTS, "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    })  # fmt: skip
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 96, "do_lower_case": False})


def reference(folder: Path, batch: Sequence[Sequence[int]]) -> np.ndarray:
    """transformers' model, mean pooling and the dense layers, one text at a time."""
    model = Gemma3TextModel.from_pretrained(folder, dtype=torch.float32).eval()
    dense = [
        load_file(folder / place / "model.safetensors")["linear.weight"].float()
        for place in ("2_Dense", "3_Dense")
    ]
    rows = []
    for ids in batch:
        with torch.inference_mode():
            pooled = model(input_ids=torch.tensor([list(ids)])).last_hidden_state.mean(1)[0]
        rows.append((dense[1] @ (dense[0] @ pooled)).numpy())
    return np.stack(rows).astype(np.float64)


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / norms


def inputs() -> list[list[int]]:
    random = np.random.default_rng(4)
    return [[2, *random.integers(4, 300, length - 2).tolist(), 1] for length in LENGTHS]


BUILT: list[EmbeddingEngine] = []


def engine(folder: Path, dtype: str = "float32") -> EmbeddingEngine:
    fields = {"model": "google/embeddinggemma-300m", "task": "embedding", "dtype": dtype}
    BUILT.append(EmbeddingEngine(ModelSpec.model_validate(fields), folder, 2))
    return BUILT[-1]


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    """The runtime aborts a process that exits while an engine compiles its second graph."""
    yield
    while BUILT:
        BUILT.pop().close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.999999), ("bfloat16", 0.99)])
def test_vectors_of_every_length(folder: Path, dtype: str, least: float) -> None:
    """Also beyond the window, and padded to the longest of the batch."""
    built = engine(folder, dtype)
    assert built.dimensions == 48
    assert built.max_tokens == 96
    batch = inputs()
    expected = reference(folder, batch)
    assert cosines(built.embed(batch), expected).min() > least
    alone = np.concatenate([built.embed([ids]) for ids in batch])
    assert cosines(alone, expected).min() > least
    assert np.linalg.norm(alone, axis=1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("window", [8, 24, 512])
def test_the_window_matters(folder: Path, window: int) -> None:
    """Another window changes the vectors of inputs longer than both windows."""
    before = reference(folder, inputs())
    write_json(folder / "config.json", CONFIG | {"sliding_window": window})
    after = reference(folder, inputs())
    assert cosines(before, after)[-1] < 0.9999
    assert cosines(engine(folder).embed(inputs()), after).min() > 0.999999


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision(folder: Path, stored: torch.dtype) -> None:
    for path in folder.rglob("model.safetensors"):
        save_file({name: each.to(stored) for name, each in load_file(path).items()}, path)
    batch = inputs()
    assert cosines(engine(folder).embed(batch), reference(folder, batch)).min() > 0.999999


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 4, "num_key_value_heads": 2},
        {"query_pre_attn_scalar": 20},
        {"layer_types": None, "sliding_window_pattern": 3, "_sliding_window_pattern": 3},
        {"rope_theta": 3000.0, "rope_local_base_freq": 77.0},
    ],
)
def test_fields_of_the_config_are_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_model(tmp_path, **changes)
    batch = inputs()
    assert cosines(engine(tmp_path).embed(batch), reference(tmp_path, batch)).min() > 0.999999


def test_the_newer_spelling_of_rotary_bases(folder: Path) -> None:
    expected = reference(folder, inputs())
    config = {key: value for key, value in CONFIG.items() if not key.startswith("rope_")}
    config["rope_parameters"] = {
        "full_attention": {"rope_type": "default", "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    write_json(folder / "config.json", config)
    assert cosines(reference(folder, inputs()), expected).min() > 0.999999
    assert cosines(engine(folder).embed(inputs()), expected).min() > 0.999999


def test_the_torch_engine_agrees(folder: Path) -> None:
    fields = {"model": "tiny", "task": "embedding", "device": "cpu", "dtype": "float32"}
    built = TorchEmbedding(ModelSpec.model_validate(fields), folder, 1)
    assert built.prompts == engine(folder).prompts == PROMPTS
    assert cosines(built.embed(inputs()), reference(folder, inputs())).min() > 0.999999
