"""The OpenVINO encoder against transformers, with the pooling of sentence-transformers.

Real MiniLM weights, and tiny random models with the architectures of bge-m3 and bge-reranker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

from fleet_contract.spec import ModelSpec
from fleet_server.engines.openvino.encoder import EmbeddingEngine, RerankEngine

CORPUS = [
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "Modern serving systems batch requests by their number of tokens.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "Les systèmes modernes regroupent les requêtes par leur longueur.",
    "Embeddings place similar sentences close to each other.",
    "A reranker reads the query and the document together.",
]
TEXTS = [
    "hello",
    "The quick brown fox jumps over the lazy dog.",
    "Der Hund springt über den Fluss und liest ein Dokument.",
    " ".join(CORPUS),
    "token " * 90,
    "?",
]
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
LEAST_COSINE = {"float32": 0.9999, "bfloat16": 0.999}
Pooler = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask.unsqueeze(-1).float()
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def cls(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return hidden[:, 0]


def reference(model: torch.nn.Module, batch: Sequence[Sequence[int]], pool: Pooler) -> np.ndarray:
    """One text at a time, so that nothing is padded."""
    rows = []
    for ids in batch:
        tokens = torch.tensor([list(ids)])
        with torch.inference_mode():
            hidden = model(input_ids=tokens, attention_mask=torch.ones_like(tokens))[0]
        rows.append(pool(hidden, torch.ones_like(tokens))[0].numpy())
    return np.stack(rows)


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / norms


def spec(task: str, dtype: str) -> ModelSpec:
    return ModelSpec.model_validate({"model": "tiny", "task": task, "dtype": dtype})


@pytest.mark.weights
@pytest.mark.parametrize("dtype", LEAST_COSINE)
def test_minilm(demo_weights: Callable[[str], Path], dtype: str) -> None:
    folder = demo_weights(MINILM)
    engine = EmbeddingEngine(spec("embedding", dtype), folder, 2)
    batch = engine.tokenize(TEXTS)
    expected = reference(AutoModel.from_pretrained(folder).eval(), batch, mean)
    found = engine.embed(batch)
    assert cosines(found, expected).min() > LEAST_COSINE[dtype]
    alone = np.concatenate([engine.embed([ids]) for ids in batch])
    assert cosines(found, alone).min() > LEAST_COSINE[dtype]


@pytest.mark.weights
def test_minilm_tokens_are_those_of_transformers(demo_weights: Callable[[str], Path]) -> None:
    folder = demo_weights(MINILM)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    engine = EmbeddingEngine(spec("embedding", "float32"), folder, 2)
    assert engine.tokenize(TEXTS) == tokenizer(TEXTS, truncation=False)["input_ids"]
    long = engine.tokenize(["dog " * 400])[0]
    cut = tokenizer(["dog " * 400], truncation=True, max_length=engine.max_tokens)
    assert engine.truncate(long) == cut["input_ids"][0]


def write_tokenizer(folder: Path, *, roberta: bool) -> None:
    """A small tokenizer trained here, with the special ids of XLM-RoBERTa or BERT."""
    specials = (
        ["<s>", "<pad>", "</s>", "<unk>"] if roberta else ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    )
    tokenizer = Tokenizer(models.BPE(unk_token=specials[3] if roberta else specials[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        CORPUS * 4, trainers.BpeTrainer(vocab_size=300, special_tokens=specials)
    )
    if roberta:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
            special_tokens=[("<s>", 0), ("</s>", 2)],
        )  # fmt: skip
    else:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )  # fmt: skip
    tokenizer.save(str(folder / "tokenizer.json"))


def shape(**changes: Any) -> dict[str, Any]:
    """Few and narrow layers; weights with a variance at which every term matters."""
    return {
        "vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 128, "initializer_range": 0.2,
    } | changes  # fmt: skip


def like_bge_m3(**changes: Any) -> XLMRobertaConfig:
    return XLMRobertaConfig(**shape(
        max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1,
        bos_token_id=0, eos_token_id=2, **changes,
    ))  # fmt: skip


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """transformers initializes biases with 0 and norms with 1, which would hide a swapped term."""
    torch.manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "LayerNorm" in name or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.fixture
def bge_m3(tmp_path: Path) -> tuple[Path, torch.nn.Module]:
    torch.manual_seed(5)
    model = randomise(XLMRobertaModel(like_bge_m3(), add_pooling_layer=False))
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path, roberta=True)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 64, "pooling_mode_cls_token": True})
    )
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    (tmp_path / "modules.json").write_text(
        json.dumps([{"type": f"sentence_transformers.models.{kind}", "path": path}
                    for kind, path in modules])
    )  # fmt: skip
    return tmp_path, model


@pytest.mark.parametrize("dtype", LEAST_COSINE)
def test_bge_m3(bge_m3: tuple[Path, torch.nn.Module], dtype: str) -> None:
    folder, model = bge_m3
    engine = EmbeddingEngine(spec("embedding", dtype), folder, 2)
    assert engine.max_tokens == 512
    batch = engine.tokenize(TEXTS)
    found = engine.embed(batch)
    assert cosines(found, reference(model, batch, cls)).min() > LEAST_COSINE[dtype]
    alone = np.concatenate([engine.embed([ids]) for ids in batch])
    assert cosines(found, alone).min() > LEAST_COSINE[dtype]


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_bge_m3_stored_in_half_precision(
    bge_m3: tuple[Path, torch.nn.Module], stored: torch.dtype
) -> None:
    folder, model = bge_m3
    model.to(stored).save_pretrained(folder)
    engine = EmbeddingEngine(spec("embedding", "float32"), folder, 2)
    batch = engine.tokenize(TEXTS)
    expected = reference(model.float(), batch, cls)
    assert cosines(engine.embed(batch), expected).min() > LEAST_COSINE["float32"]


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
def test_activations(tmp_path: Path, activation: str) -> None:
    torch.manual_seed(6)
    model = randomise(XLMRobertaModel(like_bge_m3(hidden_act=activation), add_pooling_layer=False))
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path, roberta=True)
    engine = EmbeddingEngine(spec("embedding", "float32"), tmp_path, 2)
    batch = engine.tokenize(TEXTS)
    assert np.abs(cosines(engine.embed(batch), reference(model, batch, mean)) - 1).max() < 1e-6


QUERY = "quick brown fox"


def reference_scores(folder: Path, batch: Sequence[Sequence[int]], *, types: bool) -> np.ndarray:
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    scores = []
    for document, ids in zip(CORPUS, batch, strict=True):
        encoded = tokenizer(QUERY, document, return_token_type_ids=True)
        assert encoded["input_ids"] == list(ids)
        extra = {"token_type_ids": torch.tensor([encoded["token_type_ids"]])} if types else {}
        with torch.inference_mode():
            scores.append(float(model(input_ids=torch.tensor([list(ids)]), **extra).logits[0, 0]))
    return np.array(scores)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_bge_reranker(tmp_path: Path, dtype: str, tolerance: float) -> None:
    torch.manual_seed(8)
    randomise(XLMRobertaForSequenceClassification(like_bge_m3(num_labels=1))).save_pretrained(
        tmp_path
    )
    write_tokenizer(tmp_path, roberta=True)
    check_reranker(tmp_path, dtype, tolerance, types=False)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_bert_cross_encoder_with_token_types(tmp_path: Path, dtype: str, tolerance: float) -> None:
    torch.manual_seed(9)
    config = BertConfig(**shape(max_position_embeddings=128, type_vocab_size=2, num_labels=1))
    randomise(BertForSequenceClassification(config)).save_pretrained(tmp_path)
    write_tokenizer(tmp_path, roberta=False)
    check_reranker(tmp_path, dtype, tolerance, types=True)


def check_reranker(folder: Path, dtype: str, tolerance: float, *, types: bool) -> None:
    engine = RerankEngine(spec("rerank", dtype), folder, 2)
    batch = engine.tokenize_pairs(QUERY, CORPUS)
    expected = reference_scores(folder, batch, types=types)
    assert np.ptp(expected) > 0.2
    found = engine.score(batch)
    assert np.abs(found - expected).max() < tolerance * max(1, np.abs(expected).max())
    alone = np.concatenate([engine.score([ids]) for ids in batch])
    assert np.abs(found - alone).max() < tolerance * max(1, np.abs(expected).max())
