"""Adapters in PEFT's format, compared with the files of llama.cpp's own converter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fleet_prepare import gguf_head
from fleet_prepare.gguf_head import Value
from fleet_server.engines.llamacpp.adapters import lora
from fleet_server.load_error import LoadError
from support import tiny_adapter, tiny_chat, tiny_gguf

CONFIGS = {"llama": tiny_chat.LLAMA, "qwen2": tiny_chat.QWEN2, "qwen3": tiny_chat.QWEN3}


def content(path: Path) -> dict[str, Any]:
    return {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("family", CONFIGS)
def test_an_adapter_in_pefts_format_is_converted(tmp_path: Path, family: str) -> None:
    config = CONFIGS[family]
    base = gguf_head.metadata(tiny_gguf.write(tmp_path / "base.gguf", config))
    assert base is not None
    folder = tiny_adapter.write_peft(tmp_path / "peft", config, 3)
    expected = tiny_adapter.write_gguf(tmp_path / "expected.gguf", config, 3)
    path = folder / "adapter_config.json"
    plain = {"rank_pattern": {}, "alpha_pattern": {}, "init_lora_weights": "gaussian"}
    path.write_text(json.dumps(json.loads(path.read_text()) | plain))
    info = lora("sql", folder, base, tmp_path)
    assert Path(info.path) == tmp_path / "sql.gguf"
    assert gguf_head.metadata(Path(info.path)) == gguf_head.metadata(expected)
    found, wanted = content(Path(info.path)), content(expected)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_dora": True}, "has use_dora"),
        ({"rank_pattern": {"q_proj": 2}}, "has rank_pattern"),
        ({"alpha_pattern": {"q_proj": 2}}, "has alpha_pattern"),
        ({"init_lora_weights": "pissa_niter_4"}, "has init_lora_weights 'pissa_niter_4'"),
        ({"bias": "all"}, "has bias"),
        ({"r": None}, "no rank"),
        ({"lora_alpha": float("nan")}, "no positive lora_alpha"),
        ({"lora_alpha": 0}, "no positive lora_alpha"),
        ({"lora_alpha": True}, "no positive lora_alpha"),
        ({"alora_invocation_tokens": [1, 2]}, "has alora_invocation_tokens"),
        ({"r": 8}, r"has the shape .*, which is not one of rank 8"),
    ],
)
def test_what_is_not_converted_is_refused(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    folder = tiny_adapter.write_peft(tmp_path / "peft", tiny_chat.QWEN3, 3)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    base: dict[str, Value] = {"general.architecture": "qwen3", "qwen3.block_count": 2}
    with pytest.raises(LoadError, match=words):
        lora("sql", folder, base, tmp_path)


def test_tensors_and_architectures_that_are_not_converted(tmp_path: Path) -> None:
    folder = tiny_adapter.write_peft(tmp_path / "peft", tiny_chat.QWEN3, 3)
    with pytest.raises(LoadError, match="this model is of mamba"):
        lora("sql", folder, {"general.architecture": "mamba"}, tmp_path)
    path = folder / "adapter_model.safetensors"
    extra = {"base_model.model.lm_head.weight": np.zeros((2, 2), np.float32)}
    save_file(load_file(path) | extra, path)
    base: dict[str, Value] = {"general.architecture": "qwen3", "qwen3.block_count": 2}
    with pytest.raises(LoadError, match=r"holds the tensor base_model.model.lm_head.weight"):
        lora("sql", folder, base, tmp_path)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("model.layers.0.self_attn.q_proj.lora_A.weight", (), "has the shape"),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", (4,), "has the shape"),
        ("model.layers.0.self_attn.q_proj.lora_B.weight", (0, 4), "has the shape"),
        ("model.layers.0.self_attn.q_proj.lora_B.weight", (30, 4), "30 rows for 4 heads"),
        ("model.layers.9.self_attn.q_proj.lora_A.weight", (4, 64), "holds the tensor"),
    ],
)
def test_a_tensor_that_does_not_fit_the_model(
    tmp_path: Path, name: str, shape: tuple[int, ...], words: str
) -> None:
    folder = tiny_adapter.write_peft(tmp_path / "peft", tiny_chat.LLAMA, 3)
    path = folder / "adapter_model.safetensors"
    changed = {f"base_model.model.{name}": np.zeros(shape, np.float32)}
    save_file(load_file(path) | changed, path)
    base: dict[str, Value] = {
        "general.architecture": "llama", "llama.block_count": 2, "llama.attention.head_count": 4,
    }  # fmt: skip
    with pytest.raises(LoadError, match=words):
        lora("sql", folder, base, tmp_path)


@pytest.mark.parametrize("value", [None, 0, "2", 1 << 40])
def test_a_model_without_a_usable_number_of_layers_or_heads(tmp_path: Path, value: Any) -> None:
    folder = tiny_adapter.write_peft(tmp_path / "peft", tiny_chat.LLAMA, 3)
    base: dict[str, Value] = {
        "general.architecture": "llama", "llama.block_count": 2, "llama.attention.head_count": 4,
    }  # fmt: skip
    for name in ("llama.block_count", "llama.attention.head_count"):
        with pytest.raises(LoadError, match=f"gives no {name}"):
            lora("sql", folder, {**base, name: value}, tmp_path)


def test_a_weight_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    folder = tiny_adapter.write_peft(tmp_path / "peft", tiny_chat.QWEN3, 3)
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(iter(tensors))
    save_file(tensors | {name.removeprefix("base_model.model."): tensors[name]}, path)
    base: dict[str, Value] = {"general.architecture": "qwen3", "qwen3.block_count": 2}
    with pytest.raises(LoadError, match="holds the tensor"):
        lora("sql", folder, base, tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="holds 0 GGUF files"):
        lora("sql", tmp_path, {}, tmp_path)
    model = tiny_gguf.write(tmp_path / "model.gguf", tiny_chat.QWEN3)
    with pytest.raises(LoadError, match="not a GGUF file of an adapter"):
        lora("sql", model, {}, tmp_path)
