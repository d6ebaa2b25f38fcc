"""Errors of a handler that does not implement its protocol."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fleet_contract.spec import Dtype, Engine, ModelSpec
from fleet_prepare.choose import EngineChoice
from fleet_server.load_error import LoadError
from fleet_server.protocols import EmbeddingModel, TextModel
from fleet_server.startup.load import load, members


class Handler:
    """Has the methods of the seed's handlers only."""

    max_tokens = 8

    def __init__(self, *_: Any) -> None: ...
    def tokenize(self, texts: Any) -> Any: ...
    def truncate(self, token_ids: Any) -> Any: ...
    def embed(self, batch: Any) -> Any: ...


def test_missing_members_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = ModuleType("acme_odd")
    module.Handler = Handler  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_odd", module)
    spec = ModelSpec.model_validate({"model": "m", "task": "embedding"})
    choice = EngineChoice(Engine.CUSTOM, "acme_odd.Handler", "cpu", "a test")
    with pytest.raises(LoadError) as caught:
        load(spec, tmp_path, 1, choice)
    assert caught.value.message == (
        "acme_odd.Handler does not implement EmbeddingModel: it has no dimensions, vocab_size, "
        "close."
    )


class Formatted(Handler):
    """Keeps the number format it is given."""

    dimensions, vocab_size = 8, 8

    def __init__(self, *_: Any, dtype: Dtype) -> None:
        self.dtype = dtype

    def close(self) -> None: ...


def test_engines_are_given_the_number_format(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = ModuleType("acme_formatted")
    module.Formatted = Formatted  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "acme_formatted", module)
    spec = ModelSpec.model_validate({"model": "m", "task": "embedding"})
    choice = EngineChoice(
        Engine.TORCH, "acme_formatted:Formatted", "cpu", "a test", dtype=Dtype.BFLOAT16
    )
    assert load(spec, tmp_path, 1, choice).model.dtype is Dtype.BFLOAT16


def test_members_are_those_a_runtime_check_needs() -> None:
    assert members(EmbeddingModel) == [
        "dimensions", "max_tokens", "vocab_size", "tokenize", "truncate", "embed", "close",
    ]  # fmt: skip
    inherited = members(TextModel)
    assert {"context_length", "submit", "vocabulary", "prompt_of"} <= set(inherited)
    assert len(set(inherited)) == len(inherited)


def test_a_missing_shared_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "acme_native.py").write_text(
        'raise ImportError("libgomp.so.1: cannot open shared object file")'
    )
    monkeypatch.syspath_prepend(tmp_path)
    choice = EngineChoice(Engine.LLAMACPP, "acme_native:Model", "cpu", "a test")
    with pytest.raises(LoadError, match=r"cannot be imported: libgomp\.so\.1") as found:
        load(ModelSpec.model_validate({"model": "m"}), tmp_path, 1, choice)
    assert "libgomp1" in str(found.value.hint)
