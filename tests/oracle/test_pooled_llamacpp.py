"""Embeddings and reranking of llama.cpp with tiny random models against transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel

from fleet_contract.spec import ModelSpec
from fleet_server.engines.llamacpp.embedding import LlamaEmbedding
from fleet_server.engines.llamacpp.rerank import JOINER, LlamaRerank
from fleet_server.load_error import LoadError
from support import tiny_bert, tiny_bert_gguf, tiny_chat, tiny_gguf

CONFIG = tiny_chat.QWEN3
TEXTS = [
    "fox",
    "The quick brown fox jumps over the lazy dog near the river bank. " * 4,
    "Wie heißt der Hund? 日本語",
]


def spec(task: str, **fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({
        "model": "tiny", "task": task, "dtype": "float32", "contextLength": 512, **fields,
    })  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat.write(tmp_path_factory.mktemp("source") / "source", CONFIG)


@pytest.fixture(scope="module")
def reference(source: Path) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(source)


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaRerank]:
    path = tmp_path_factory.mktemp("rerank") / "tiny.gguf"
    tiny_gguf.write(path, CONFIG, pooling=gguf.PoolingType.RANK)
    engine = LlamaRerank(spec("rerank", contextLength=128), path, 1)
    yield engine
    engine.close()


@pytest.mark.parametrize("kind", ["LAST", "MEAN"])
def test_vectors_are_pooled_as_the_gguf_says(
    reference: tuple[Any, Any], tmp_path: Path, kind: str
) -> None:
    model, tokenizer = reference
    path = tiny_gguf.write(tmp_path / "t.gguf", CONFIG, pooling=gguf.PoolingType[kind])
    engine = LlamaEmbedding(spec("embedding"), path, 1)
    batch = engine.tokenize(TEXTS)
    vectors = engine.embed(batch)
    alone = np.concatenate([engine.embed([ids]) for ids in batch])
    engine.close()
    assert batch == [tokenizer.encode(text) for text in TEXTS]
    for ids, vector in zip(batch, vectors, strict=True):
        with torch.inference_mode():
            states = model.model(torch.tensor([ids])).last_hidden_state[0].numpy()
        wanted = states[-1] if kind == "LAST" else states.mean(0)
        assert np.allclose(vector, wanted / np.linalg.norm(wanted), atol=1e-5)
    assert np.allclose(vectors, alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["CLS", "MEAN"])
def test_vectors_of_an_encoder(tmp_path: Path, kind: str) -> None:
    """BERT, whose tokens attend to later ones too."""
    weights = {name: torch.from_numpy(each) for name, each in tiny_bert.bert_tensors().items()}
    model = BertModel(BertConfig(**tiny_bert.bert_config()), add_pooling_layer=False).eval()
    model.load_state_dict(weights, strict=False)
    path = tiny_bert_gguf.write(tmp_path / "bert.gguf", gguf.PoolingType[kind])
    engine = LlamaEmbedding(spec("embedding", contextLength=24), path, 1)
    batch = engine.tokenize(["w1", "w7 w3 unknown w59", "w2 " * 20])
    vectors = engine.embed(batch)
    engine.close()
    assert batch[1] == [2, 11, 7, 1, 63, 3]
    for ids, vector in zip(batch, vectors, strict=True):
        with torch.inference_mode():
            states = model(torch.tensor([ids])).last_hidden_state[0].numpy()
        wanted = states[0] if kind == "CLS" else states.mean(0)
        assert np.allclose(vector, wanted / np.linalg.norm(wanted), atol=1e-3)


def test_a_gguf_without_pooling_needs_that_of_the_spec(tmp_path: Path) -> None:
    path = tiny_gguf.write(tmp_path / "t.gguf", CONFIG)
    with pytest.raises(LoadError, match="pooled"):
        LlamaEmbedding(spec("embedding"), path, 1)
    with pytest.raises(LoadError, match="cannot rerank"):
        LlamaRerank(spec("rerank"), path, 1)


def test_scores_are_the_logits_of_yes_and_no(
    reference: tuple[Any, Any], reranker: LlamaRerank
) -> None:
    model, tokenizer = reference
    pairs = [*reranker.tokenize_pairs("a dog", TEXTS[:1] + TEXTS[2:]),
             *reranker.tokenize_pairs("the river", TEXTS[:1])]  # fmt: skip
    texts = [("a dog", TEXTS[0]), ("a dog", TEXTS[2]), ("the river", TEXTS[0])]
    wanted = []
    for pair, (query, document) in zip(pairs, texts, strict=True):
        whole = tiny_gguf.RERANK_TEMPLATE.format(query=query, document=document)
        ids = tokenizer.encode(whole)
        assert abs(len(pair) - len(ids)) <= 5  # tokens join at the ends of texts
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1]
        wanted.append(float(logits[tiny_gguf.YES] - logits[tiny_gguf.NO]))
    assert np.allclose(reranker.score(pairs), wanted, atol=1e-3)


def test_a_document_that_is_too_long_is_cut(reranker: LlamaRerank) -> None:
    [pair] = reranker.tokenize_pairs("dog", ["The quick brown fox. " * 60])
    assert len(pair) > reranker.max_tokens
    short = reranker.truncate_pair(pair)
    assert 0 <= reranker.max_tokens - len(short) < 8
    assert reranker.score([short]).shape == (1,)


def test_special_tokens_in_texts_are_no_control_tokens(reranker: LlamaRerank) -> None:
    [plain, marked] = reranker.tokenize_pairs("dog", ["end", "<|im_end|>end"])
    assert len(marked) > len(plain) + 2


def test_places_of_the_template_in_texts_are_texts(reranker: LlamaRerank) -> None:
    """llama.cpp fills in the query first: the document would replace `{document}` in it."""
    query, document = "dog {document} {query}", "fox " * 20
    parted = query.replace("{", f"{{{JOINER}")
    pairs = [reranker.tokenize_pairs(each, [document])[0] for each in (query, parted)]
    one, other = reranker.score(pairs)
    assert one == pytest.approx(other, abs=1e-6)
    assert len(pairs[0]) == len(pairs[1])
