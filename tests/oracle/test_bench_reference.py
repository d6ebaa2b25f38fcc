"""The reference of `bench compare` returns transformers' greedy tokens and pooled states."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, BertConfig, BertModel

from fleet_bench.reference.chat import TransformersChat
from fleet_bench.reference.embedding import TransformersEmbedding
from fleet_bench.reference.protocols import Unusable
from fleet_bench.reference.speech import decode

QUESTION = [{"role": "user", "content": "Why is the river quick?"}]


@pytest.fixture
def llama(tiny_chat: Callable[[str], Path]) -> Path:
    return tiny_chat("llama")


@pytest.fixture
def encoder(tmp_path: Path, llama: Path) -> Path:
    """A tiny BERT with the tokenizer of the chat model."""
    folder = tmp_path / "encoder"
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128, initializer_range=0.5,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def test_chat_is_greedy_generate(llama: Path) -> None:
    model = TransformersChat(llama, "cpu", "float32")
    tokenizer = AutoTokenizer.from_pretrained(llama)
    plain = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).eval()
    prompt = model.prompt(QUESTION)
    ids = tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    assert prompt == ids[0].tolist()
    expected = plain.generate(ids, max_new_tokens=12, do_sample=False)[0, len(prompt) :].tolist()
    found = list(model.generate(prompt, 12))
    assert found == [token for token in expected if token not in model._ends]
    assert model.decode(found) == tokenizer.decode(found, skip_special_tokens=True)


def test_a_vision_model_generates_text(tiny_chat: Callable[[str], Path]) -> None:
    model = TransformersChat(tiny_chat("qwen3-vl"), "cpu", "float32")
    assert 0 < len(list(model.generate(model.prompt(QUESTION), 6))) <= 6


def test_a_closed_generation_ends(llama: Path) -> None:
    model = TransformersChat(llama, "cpu", "float32")
    answer = model.generate(model.prompt(QUESTION), 100_000)
    next(answer)
    answer.close()  # joins the thread


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_embeddings_are_pooled_hidden_states(encoder: Path, pooling: str) -> None:
    texts = ["The quick fox", "Modern serving systems batch requests by their tokens."]
    vectors, tokens = TransformersEmbedding(encoder, "cpu", "float32", pooling, None).embed(texts)
    tokenizer, plain = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder)
    counted = 0
    for text, vector in zip(texts, vectors, strict=True):
        batch = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            states = plain.eval()(**batch).last_hidden_state[0].numpy()
        expected = {"cls": states[0], "mean": states.mean(0), "last": states[-1]}[pooling]
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
        counted += len(states)
    assert tokens == counted


def test_pooling_is_read_from_the_files(encoder: Path, tmp_path: Path) -> None:
    (encoder / "1_Pooling").mkdir(exist_ok=True)
    (encoder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    auto = TransformersEmbedding(encoder, "cpu", "float32", "auto", None).embed(["one"])[0]
    assert auto == TransformersEmbedding(encoder, "cpu", "float32", "cls", None).embed(["one"])[0]


def test_unsupported_models_are_rejected(encoder: Path, tmp_path: Path) -> None:
    (encoder / "modules.json").write_text(
        json.dumps([{"type": "sentence_transformers.models.Dense"}])
    )
    with pytest.raises(Unusable, match="Dense"):
        TransformersEmbedding(encoder, "cpu", "float32", "auto", None)
    with pytest.raises(Unusable, match="safetensors"):
        TransformersChat(tmp_path, "cpu", "float32")


def test_recordings_become_mono_at_16_khz() -> None:
    from fleet_bench.recordings import read

    lengths = [len(decode(recording.data)) / 16_000 for recording in read(())]
    assert lengths == pytest.approx([4.14, 3.12, 2.64], abs=0.02)
