"""Which GGUF files are models, parts and projectors."""

from __future__ import annotations

from fleet_weights import gguf_names

PARTS = ["q8/m-00001-of-00003.gguf", "q8/m-00002-of-00003.gguf", "q8/m-00003-of-00003.gguf"]


def test_a_model_in_parts_counts_once_and_only_if_it_is_complete() -> None:
    assert gguf_names.models([*PARTS, "a.gguf", "x.json"]) == ["a.gguf", PARTS[0]]
    assert gguf_names.models(PARTS[:2]) == []
    assert gguf_names.parts(PARTS[0]) == PARTS
    assert gguf_names.parts("a.gguf") == ["a.gguf"]


def test_a_projector_is_no_model() -> None:
    names = ["mmproj-BF16.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf", "m.gguf"]
    assert gguf_names.models(names) == ["m.gguf"]
    assert gguf_names.projector(names) == "mmproj-F16.gguf"
    assert gguf_names.projector(["Qwen3-VL-mmproj-bf16.gguf"]) == "Qwen3-VL-mmproj-bf16.gguf"
    assert gguf_names.projector(["m.gguf"]) is None


def test_the_projector_beside_a_model() -> None:
    names = ["a/m.gguf", "a/mmproj-F16.gguf", "m.gguf", "b/m.gguf"]
    assert gguf_names.projector_beside("a/m.gguf", names) == "a/mmproj-F16.gguf"
    assert gguf_names.projector_beside("m.gguf", names) is None
    assert gguf_names.projector_beside("b/m.gguf", names) is None
