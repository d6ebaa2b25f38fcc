"""A converted chat model whose files are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet_contract.spec import ModelSpec
from fleet_prepare import chat
from fleet_prepare.conversion import Conversion
from fleet_server.engines.openvino.chat import OpenVinoChat
from fleet_server.load_error import LoadError
from fleet_weights import record
from support import tiny_chat


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    target = tmp_path / "converted"
    target.mkdir()
    source = tiny_chat.write(tmp_path / "source", tiny_chat.LLAMA)
    chat.convert(Conversion(source, target, "int8", lambda *_: None, lambda: None, {}))
    return target


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("damage", "recorded", "named"),
    [
        (cut, True, "openvino_model.bin has 1000 bytes, not"),
        (cut, False, "openvino_model.xml or openvino_model.bin is damaged"),
        (zeroed, True, "openvino_model.xml or openvino_model.bin is damaged"),
        (Path.unlink, True, "openvino_model.bin is missing"),
    ],
)
def test_damaged_weights_are_named(
    converted: Path, damage: Callable[[Path], None], recorded: bool, named: str
) -> None:
    if recorded:
        record.write(converted, {}, record.measure(converted))
    damage(converted / "openvino_model.bin")
    spec = ModelSpec.model_validate({"model": "m", "task": "chat", "device": "cpu"})
    with pytest.raises(LoadError) as caught:
        OpenVinoChat(spec, converted, 1)
    assert f"{converted}: {named}" in caught.value.message
    assert "GGUF" not in str(caught.value)
    assert ("Delete the folder; `modelfleet pull`" in caught.value.hint) is recorded
