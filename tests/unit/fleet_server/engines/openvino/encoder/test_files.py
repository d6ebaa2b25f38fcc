"""Which files of a folder the engine loads, and which folders it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_server.engines.openvino.encoder.files import find
from fleet_server.load_error import LoadError

Write = Callable[..., Path]


def test_safetensors_of_a_known_family_come_first(tiny_encoder: Write) -> None:
    folder = tiny_encoder()
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").touch()
    found = find(folder)
    assert (found.shipped, found.safetensors) == (None, (folder / "model.safetensors",))


@pytest.mark.parametrize(
    ("shipped", "chosen"),
    [
        (["onnx/model.onnx"], "onnx/model.onnx"),
        (["model.onnx"], "model.onnx"),
        (["onnx/model.onnx", "openvino/openvino_model.xml"], "openvino/openvino_model.xml"),
        (["onnx/model_quantized.onnx"], None),
        ([], None),
    ],
)
def test_an_unknown_family_needs_a_shipped_graph(
    tiny_encoder: Write, shipped: list[str], chosen: str | None
) -> None:
    folder = tiny_encoder(model_type="electra")
    for name in shipped:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    if chosen is None:
        with pytest.raises(LoadError, match="electra"):
            find(folder)
    else:
        assert find(folder).shipped == folder / chosen


def is_refused(folder: Path) -> bool:
    try:
        find(folder)
    except LoadError:
        return True
    return False


def test_models_that_cannot_be_served_are_refused(tiny_encoder: Write, tmp_path: Path) -> None:
    assert is_refused(tmp_path / "nowhere")
    folder = tiny_encoder(is_decoder=True)
    assert is_refused(folder)
    tiny_encoder()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        whole = (folder / name).read_bytes()
        (folder / name).unlink()
        assert is_refused(folder)
        (folder / name).write_bytes(whole)
    assert not is_refused(folder)
    for broken in ("{", "[]", '[{"type": "a.b.LSTM"}]', '[{"type": "a.Pooling", "path": "1"}]'):
        (folder / "1").mkdir(exist_ok=True)
        (folder / "1" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
        (folder / "modules.json").write_text(broken)
        assert is_refused(folder) == (broken != "[]")


def test_the_transformer_may_be_in_a_subfolder(tiny_encoder: Write) -> None:
    folder = tiny_encoder()
    inner = folder / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).rename(inner / name)
    (inner / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    modules = [{"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    found = find(folder)
    assert found.safetensors == (inner / "model.safetensors",)
    assert found.recipe.max_tokens == 9
