"""Whole conversions of tiny repositories, and invalid repositories."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from fleet_prepare import chat
from fleet_prepare.chat import checkpoint
from fleet_prepare.conversion import Conversion
from fleet_weights.errors import WeightsError
from support import tiny_chat


def run(
    source: Path, target: Path, quantization: str = "int8",
    check: Callable[[], None] = lambda: None, progress: Callable[..., None] = lambda *_: None,
) -> Path:  # fmt: skip
    target.mkdir()
    chat.convert(Conversion(source, target, quantization, progress, check, {}))
    return target


def repository(folder: Path, changes: dict[str, Any] | None = None, **layout: Any) -> Path:
    return tiny_chat.write(folder, tiny_chat.LLAMA | (changes or {}), **layout)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tensors: dict[str, Any] = dict(tiny_chat.random_tensors(tiny_chat.LLAMA))
    change(tensors)
    tiny_chat.write_tensors(folder, tensors)


def logits(folder: Path) -> Any:
    # Only weights in fewer bits: with AVX-512 VNNI, OpenVINO would quantise activations too.
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    compiled = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", exact)
    ids = np.arange(20, 44)[None]
    return compiled({
        "input_ids": ids, "attention_mask": np.ones_like(ids),
        "position_ids": np.arange(ids.size)[None], "beam_idx": np.zeros(1, np.int32),
    })["logits"].copy()  # fmt: skip


def agreement(found: Any, wanted: Any) -> float:
    return float(np.corrcoef(found.ravel(), wanted.ravel())[0, 1])


def test_fewer_bits_give_smaller_files_with_similar_logits(tmp_path: Path) -> None:
    source = repository(tmp_path / "source", stored="BF16")
    made = {kind: run(source, tmp_path / kind, kind) for kind in ("none", "int8", "int4")}
    sizes = [(folder / "openvino_model.bin").stat().st_size for folder in made.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.5 * sizes[1]
    exact, eight, four = (logits(folder) for folder in made.values())
    assert 0.999 < agreement(eight, exact) < 1
    assert 0.9 < agreement(four, exact) < agreement(eight, exact)


def test_shards_and_one_file_give_the_same_bytes(tmp_path: Path) -> None:
    one = run(repository(tmp_path / "one"), tmp_path / "a")
    many = run(repository(tmp_path / "many", shards=4), tmp_path / "b")
    for name in ("openvino_model.bin", "openvino_detokenizer.bin"):
        assert (one / name).read_bytes() == (many / name).read_bytes()


def test_rows_read_in_chunks_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = repository(tmp_path / "source")
    name = "openvino_model.bin"
    for kind in ("none", "int8", "int4"):
        with monkeypatch.context() as patch:
            whole = run(source, tmp_path / kind, kind)
            patch.setattr(checkpoint, "CHUNK_BYTES", 1000)
            pieces = run(source, tmp_path / f"{kind}-pieces", kind)
        if kind == "int4":
            # Matrix products of other sizes are rounded otherwise, which may turn a level.
            assert (whole / name).stat().st_size == (pieces / name).stat().st_size
            assert agreement(logits(whole), logits(pieces)) > 0.99
        else:
            assert (whole / name).read_bytes() == (pieces / name).read_bytes()


def test_the_files_next_to_the_graph(tmp_path: Path) -> None:
    target = run(repository(tmp_path / "source"), tmp_path / "target")
    assert {path.name for path in target.iterdir()} == {
        "openvino_model.xml", "openvino_model.bin", "openvino_detokenizer.xml",
        "openvino_detokenizer.bin", "config.json", "generation_config.json", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja",
    }  # fmt: skip
    generation = json.loads((target / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [1, 3, 4]
    assert generation["temperature"] == 0.6


def test_end_tokens_are_found_without_a_generation_config(tmp_path: Path) -> None:
    source = repository(tmp_path / "source", {"eos_token_id": 1})
    (source / "generation_config.json").unlink()
    target = run(source, tmp_path / "target")
    generation = json.loads((target / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [1, 4]


def test_progress_reaches_all_bytes_and_a_check_may_stop_it(tmp_path: Path) -> None:
    source = repository(tmp_path / "source")
    seen: list[tuple[int, int]] = []
    run(source, tmp_path / "target", progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1][0] == seen[-1][1] > 0
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run(source, tmp_path / "stopped", check=check)


def damaged(tensor: str, array: Any) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, lambda tensors: tensors.update({tensor: array}))


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, path.stat().st_size - 100)


def configured(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / "config.json").write_text(
        json.dumps(tiny_chat.LLAMA | changes)
    ) and None  # fmt: skip


def no_ends(folder: Path) -> None:
    configured(eos_token_id=None)(folder)
    (folder / "generation_config.json").unlink()
    (folder / "tokenizer_config.json").write_text("{}")


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing tensor": (
        lambda folder: rewrite(folder, lambda all_: all_.pop("model.norm.weight")),
        r"model\.norm\.weight",
    ),
    "odd shape": (damaged("model.layers.1.mlp.up_proj.weight", np.ones((3, 4), np.float32)),
                  r"up_proj\.weight' has shape \[3, 4\]"),
    "not a number": (
        damaged("model.layers.0.mlp.up_proj.weight", np.full((96, 64), np.nan, np.float32)),
        "NaN",
    ),
    "integers": (damaged("model.layers.0.mlp.up_proj.weight", np.ones((96, 64), np.int8)),
                 "stored as I8"),
    "unknown tensor": (damaged("model.layers.0.adapter.weight", np.ones(3, np.float32)),
                       r"layers\.0\.adapter"),
    "cut short": (cut, r"model\.safetensors"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "neither"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), r"no tokenizer\.json"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"no config\.json"),
    "config is no JSON": (lambda folder: (folder / "config.json").write_text("{"), "config"),
    "small vocabulary": (configured(vocab_size=100), "vocabulary of 100"),
    "more layers": (configured(num_hidden_layers=3), r"layers\.2\."),
    "fewer layers": (configured(num_hidden_layers=1), r"layers\.1\."),
    "unknown rope": (configured(rope_scaling={"rope_type": "dynamic"}), "dynamic"),
    "no end": (no_ends, "eos_token_id"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_errors_for_a_wrong_repository_name_the_place(tmp_path: Path, case: str) -> None:
    change, named = WRONG[case]
    source = repository(tmp_path / "source")
    change(source)
    with pytest.raises(WeightsError, match=named):
        run(source, tmp_path / "target")


def test_an_unknown_quantization_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="int3"):
        run(repository(tmp_path / "source"), tmp_path / "target", "int3")
