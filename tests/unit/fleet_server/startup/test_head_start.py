"""A model that is loaded while the web app is imported; errors are left to later stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.launch import encode
from fleet_contract.spec import ModelSpec
from fleet_server.load_error import LoadError
from fleet_server.startup import weights
from fleet_server.startup.head_start import HeadStart
from fleet_weights.store import Store


def begun(folder: Path, **environ: str) -> HeadStart:
    spec = {"model": "acme/tiny", "task": "embedding", "source": f"file://{folder}"}
    made = HeadStart({**encode(ModelSpec.model_validate(spec)), **environ})
    made.begin()
    return made


def test_the_model_is_loaded_in_advance(tiny_encoder: Callable[..., Path]) -> None:
    folder = tiny_encoder()
    loaded = begun(folder).take(folder)
    assert loaded is not None
    assert loaded.choice.engine.value == "openvino"
    assert loaded.model.embed(loaded.model.tokenize(["a"])).shape[0] == 1
    loaded.model.close()


def test_a_model_of_other_weights_is_not_used(
    tiny_encoder: Callable[..., Path], tmp_path: Path
) -> None:
    assert begun(tiny_encoder()).take(tmp_path / "other") is None


def test_invalid_weights_raise_a_load_error(
    tiny_encoder: Callable[..., Path],
) -> None:
    folder = tiny_encoder()
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(LoadError):
        begun(folder).take(folder)


@pytest.mark.parametrize(
    "environ", [{"MODELFLEET_THREADS": "none"}, {"MODELFLEET_SPEC": "{"}, {"MODELFLEET_SPEC": ""}]
)
def test_invalid_settings_load_nothing(
    tiny_encoder: Callable[..., Path], environ: dict[str, str]
) -> None:
    folder = tiny_encoder()
    assert begun(folder, **environ).take(folder) is None


def test_missing_weights_load_nothing(tmp_path: Path) -> None:
    spec: Any = ModelSpec.model_validate({"model": "acme/tiny", "source": "hf://acme/tiny"})
    head_start = HeadStart({**encode(spec), "MODELS_DIR": str(tmp_path)})
    head_start.begin()
    assert head_start.take(tmp_path) is None


async def test_the_store_is_searched_once(
    tiny_encoder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_encoder()
    spec = ModelSpec.model_validate(
        {"model": "acme/tiny", "task": "embedding", "source": f"file://{folder}"}
    )
    head_start = begun(folder)
    expected = head_start.prepared()
    assert expected is not None
    monkeypatch.setattr(weights, "find", None)
    stage = weights.WeightsStage(spec, Store.of({}), {}, head_start)
    assert await stage.run(lambda *_: None) is expected
    loaded = head_start.take(folder)
    assert loaded is not None
    loaded.model.close()
