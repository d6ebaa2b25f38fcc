"""Embeddings and rerank scores of the torch engine against transformers.

Tiny random models with the architectures of bge-m3, embeddinggemma and Qwen3-Embedding, and the
files of sentence-transformers; the reference pools as these files specify, one text at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

from fleet_contract.spec import ModelSpec
from fleet_server.engines.torch import TorchEmbedding, TorchRerank
from fleet_server.load_error import LoadError
from fleet_server.protocols import EmbeddingModel, RerankModel

CORPUS = [
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "Modern serving systems batch requests by their number of tokens.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "A reranker reads the query and the document together.",
]
TEXTS = ["hello", CORPUS[0], "Der Hund liest ein Dokument.", " ".join(CORPUS), "token " * 90, "?"]
LEAST_COSINE = {"float32": 0.9999, "bfloat16": 0.999}
SPECIALS = {
    "gemma": ("<bos>", "<eos>", ["<pad>", "<eos>", "<bos>", "<unk>"]),
    "roberta": ("<s>", "</s>", ["<s>", "<pad>", "</s>", "<unk>"]),
    "bert": ("[CLS]", "[SEP]", ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]),
}
VOCABULARY = 300


def write_tokenizer(folder: Path, kind: str) -> None:
    first, last, specials = SPECIALS[kind]
    unknown = next(word for word in specials if "unk" in word.lower())
    made = Tokenizer(models.BPE(unk_token=unknown))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=specials, show_progress=False
    )
    made.train_from_iterator(CORPUS * 4, trainer)
    pair = f"{first} $A {last} $B:1 {last}:1"
    if kind == "roberta":
        pair = f"{first} $A {last} {last} $B {last}"
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=pair,
        special_tokens=[(word, specials.index(word)) for word in (first, last)],
    )  # fmt: skip
    made.save(str(folder / "tokenizer.json"))


def write_modules(folder: Path, mode: str, dense: Sequence[tuple[int, int, str]] = ()) -> None:
    """Write modules.json and its folders like sentence-transformers 5."""
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling")]
    kinds += [("Dense", f"{number + 2}_Dense") for number in range(len(dense))]
    kinds += [("Normalize", f"{len(kinds)}_Normalize")]
    (folder / "modules.json").write_text(json.dumps([
        {"idx": index, "name": str(index), "path": path,
         "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(kinds)
    ]))  # fmt: skip
    (folder / "1_Pooling").mkdir()
    flags = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")
    pooling = {f"pooling_mode_{flag}": flag == mode for flag in flags}
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 64, "include_prompt": True} | pooling)
    )
    for number, (size, out, activation) in enumerate(dense):
        home = folder / f"{number + 2}_Dense"
        home.mkdir()
        (home / "config.json").write_text(json.dumps({
            "in_features": size, "out_features": out, "bias": activation == "Tanh",
            "activation_function": f"torch.nn.modules.linear.{activation}",
        }))  # fmt: skip
        tensors = {"linear.weight": torch.randn(out, size) / size**0.5}
        if activation == "Tanh":
            tensors["linear.bias"] = torch.randn(out)
        save_file(tensors, home / "model.safetensors")


def shape(**changes: Any) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 4, "intermediate_size": 128, "initializer_range": 0.2,
    } | changes  # fmt: skip


def roberta(**changes: Any) -> XLMRobertaConfig:
    return XLMRobertaConfig(**shape(
        max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1,
        bos_token_id=0, eos_token_id=2, **changes,
    ))  # fmt: skip


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """transformers initializes biases with 0 and norms with 1, which would hide a swapped term."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name.lower() or name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def bge_m3(folder: Path) -> None:
    randomise(XLMRobertaModel(roberta(), add_pooling_layer=False)).save_pretrained(folder)
    write_tokenizer(folder, "roberta")
    write_modules(folder, "cls_token")


def embeddinggemma(folder: Path) -> None:
    config = Gemma3TextConfig(**shape(
        num_key_value_heads=1, head_dim=16, max_position_embeddings=512, sliding_window=16,
        query_pre_attn_scalar=16, use_bidirectional_attention=True, pad_token_id=0,
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    ))  # fmt: skip
    randomise(Gemma3TextModel(config)).save_pretrained(folder)
    write_tokenizer(folder, "gemma")
    write_modules(folder, "mean_tokens", [(64, 96, "Identity"), (96, 64, "Identity")])


def qwen3_embedding(folder: Path) -> None:
    config = Qwen3Config(**shape(
        num_key_value_heads=2, head_dim=16, max_position_embeddings=512, pad_token_id=0
    ))  # fmt: skip
    randomise(Qwen3Model(config)).save_pretrained(folder)
    write_tokenizer(folder, "gemma")
    write_modules(folder, "lasttoken", [(64, 32, "Tanh")])


def bert(folder: Path) -> None:
    config = BertConfig(**shape(max_position_embeddings=512, type_vocab_size=2))
    randomise(BertModel(config)).save_pretrained(folder)
    write_tokenizer(folder, "bert")
    write_modules(folder, "mean_tokens")


def pooled(hidden: torch.Tensor, mode: str) -> torch.Tensor:
    """Pool one text's token vectors `[tokens, hidden]`."""
    return {"cls_token": hidden[0], "mean_tokens": hidden.mean(0), "lasttoken": hidden[-1]}[mode]


def reference(folder: Path, batch: Sequence[Sequence[int]]) -> np.ndarray:
    """float32, no padding, pooled and projected as the published files specify."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    config = json.loads((folder / "1_Pooling" / "config.json").read_text())
    mode = next(
        flag.removeprefix("pooling_mode_") for flag, on in config.items() if on is True and
        flag.startswith("pooling_mode_")
    )  # fmt: skip
    rows = []
    for ids in batch:
        with torch.inference_mode():
            row = pooled(model(input_ids=torch.tensor([list(ids)])).last_hidden_state[0], mode)
            for home in sorted(folder.glob("*_Dense")):
                how = json.loads((home / "config.json").read_text())
                layer = torch.nn.Linear(how["in_features"], how["out_features"], bias=how["bias"])
                state = load_file(home / "model.safetensors")
                layer.load_state_dict({name.split(".")[1]: value for name, value in state.items()})
                row = layer(row)
                row = row.tanh() if how["activation_function"].endswith("Tanh") else row
        rows.append(torch.nn.functional.normalize(row, dim=0).numpy())
    return np.stack(rows)


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / norms


def spec(task: str, dtype: str = "float32", **fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"model": "tiny", "task": task, "dtype": dtype} | fields)


@pytest.mark.parametrize("dtype", LEAST_COSINE)
@pytest.mark.parametrize("write", [bge_m3, embeddinggemma, qwen3_embedding, bert])
def test_embeddings(tmp_path: Path, write: Callable[[Path], None], dtype: str) -> None:
    torch.manual_seed(5)
    write(tmp_path)
    engine = TorchEmbedding(spec("embedding", dtype), tmp_path, 1)
    assert isinstance(engine, EmbeddingModel)
    assert (engine.dtype, engine.max_tokens) == (dtype, 512)
    batch = engine.tokenize(TEXTS)
    expected = reference(tmp_path, batch)
    assert cosines(expected[:1], expected[1:2])[0] < 0.95  # otherwise all vectors would pass
    found = engine.embed(batch)
    assert cosines(found, expected).min() > LEAST_COSINE[dtype]
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-6
    alone = np.concatenate([engine.embed([ids]) for ids in batch])
    assert cosines(found, alone).min() > LEAST_COSINE[dtype]


@pytest.mark.weights
@pytest.mark.parametrize("dtype", LEAST_COSINE)
def test_minilm(demo_weights: Callable[[str], Path], dtype: str) -> None:
    folder = demo_weights("sentence-transformers/all-MiniLM-L6-v2")
    engine = TorchEmbedding(spec("embedding", dtype, pooling="mean"), folder, 1)
    batch = engine.tokenize(TEXTS)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        rows = [model(input_ids=torch.tensor([ids]))[0][0].mean(0).numpy() for ids in batch]
    assert cosines(engine.embed(batch), np.stack(rows)).min() > LEAST_COSINE[dtype]


def test_a_missing_dense_layer_and_a_wrong_one(tmp_path: Path) -> None:
    embeddinggemma(tmp_path)
    save_file({"linear.weight": torch.zeros(3, 3)}, tmp_path / "2_Dense" / "model.safetensors")
    with pytest.raises(LoadError, match="describes"):
        TorchEmbedding(spec("embedding"), tmp_path, 1)
    (tmp_path / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(LoadError, match="2_Dense"):
        TorchEmbedding(spec("embedding"), tmp_path, 1)


def bge_reranker(folder: Path) -> torch.nn.Module:
    model = randomise(XLMRobertaForSequenceClassification(roberta(num_labels=1)))
    model.save_pretrained(folder)
    write_tokenizer(folder, "roberta")
    return model


def bert_reranker(folder: Path) -> torch.nn.Module:
    config = BertConfig(**shape(max_position_embeddings=128, type_vocab_size=2, num_labels=1))
    model = randomise(BertForSequenceClassification(config))
    model.save_pretrained(folder)
    write_tokenizer(folder, "bert")
    return model


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 0.05)])
@pytest.mark.parametrize("write", [bge_reranker, bert_reranker])
def test_rerank(
    tmp_path: Path, write: Callable[[Path], torch.nn.Module], dtype: str, tolerance: float
) -> None:
    torch.manual_seed(8)
    model = write(tmp_path)
    engine = TorchRerank(spec("rerank", dtype), tmp_path, 1)
    assert isinstance(engine, RerankModel)
    query = "quick brown fox"
    batch = engine.tokenize_pairs(query, CORPUS)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    expected = []
    for document, ids in zip(CORPUS, batch, strict=True):
        made = tokenizer(query, document, return_token_type_ids=True, return_tensors="pt")
        assert made["input_ids"][0].tolist() == ids
        if write is bge_reranker:
            del made["token_type_ids"]
        with torch.inference_mode():
            expected.append(float(model(**made).logits[0, 0]))
    found = engine.score(batch)
    assert np.ptp(expected) > 0.2
    assert np.abs(found - expected).max() < tolerance * max(1, np.abs(expected).max())


def test_an_encoder_without_a_head_does_not_rerank(tmp_path: Path) -> None:
    bge_m3(tmp_path)
    with pytest.raises(LoadError, match=r"classifier\.dense"):
        TorchRerank(spec("rerank"), tmp_path, 1)
