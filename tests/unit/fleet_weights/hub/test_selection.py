"""Which files of a repository make up the model."""

from __future__ import annotations

import pytest

from fleet_weights.errors import WeightsError
from fleet_weights.hub.selection import choose

TOKENIZER = ["config.json", "tokenizer.json"]


def chosen(*paths: str) -> set[str]:
    return set(choose(list(paths), "hf://a/b"))


def test_safetensors_win_over_every_other_copy() -> None:
    assert chosen(
        *TOKENIZER, "README.md", ".gitattributes", "model.safetensors", "pytorch_model.bin",
        "onnx/model.onnx", "onnx/config.json", "openvino/openvino_model.xml",
        "openvino/openvino_model.bin", "original/params.json", "modeling.py", "tf_model.h5",
    ) == {*TOKENIZER, "model.safetensors"}  # fmt: skip


def test_shards_and_index() -> None:
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = "model.safetensors.index.json"
    assert chosen(*TOKENIZER, *shards, index) == {*TOKENIZER, *shards, index}


def test_a_whole_file_wins_over_shards_and_variants() -> None:
    assert chosen(
        *TOKENIZER, "model.safetensors", "model.fp32-00001-of-00002.safetensors",
        "model-00001-of-00002.safetensors", "consolidated.safetensors",
    ) == {*TOKENIZER, "model.safetensors"}  # fmt: skip


def test_modules_of_sentence_transformers_are_included() -> None:
    paths = [
        *TOKENIZER, "model.safetensors", "modules.json", "1_Pooling/config.json",
        "2_Dense/config.json", "2_Dense/model.safetensors",
    ]  # fmt: skip
    assert chosen(*paths) == set(paths)


def test_onnx_where_the_rest_is_pickled() -> None:
    """The files of BAAI/bge-m3."""
    assert chosen(
        *TOKENIZER, "pytorch_model.bin", "colbert_linear.pt", "sparse_linear.pt",
        "onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_quantized.onnx",
        "onnx/config.json", "1_Pooling/config.json",
    ) == {
        *TOKENIZER, "onnx/model.onnx", "onnx/model.onnx_data", "onnx/config.json",
        "1_Pooling/config.json",
    }  # fmt: skip


def test_openvino_with_its_tokenizers() -> None:
    paths = [
        *TOKENIZER, "openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.xml",
        "openvino_tokenizer.bin", "openvino_detokenizer.xml", "openvino_detokenizer.bin",
    ]  # fmt: skip
    assert chosen(*paths) == set(paths)


def test_ctranslate2() -> None:
    paths = ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"]
    assert chosen(*paths, "README.md") == set(paths)


def test_several_ggufs_are_ambiguous() -> None:
    with pytest.raises(WeightsError, match="2 GGUF files") as caught:
        chosen("a.Q4.gguf", "a.Q8.gguf")
    assert "a.Q4.gguf" in caught.value.hint


def test_the_error_for_pickles_only_has_a_hint() -> None:
    with pytest.raises(WeightsError) as caught:
        chosen(*TOKENIZER, "pytorch_model.bin")
    assert "pickles only" in caught.value.hint
    assert "refs/pr/" in caught.value.hint
