"""Pickled checkpoints through the real sandbox; torch is this environment's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from fleet_contract.spec import ModelSpec
from fleet_prepare.pickles import convert, unpickle
from fleet_prepare.pickles.convert import convert_folder, convert_model
from fleet_prepare.safetensors_file import open_tensors
from fleet_prepare.stage import PrepareStage
from fleet_weights.errors import WeightsError
from fleet_weights.fetch import is_there
from fleet_weights.store import Store
from support.hub import Hub

TENSORS = {
    "half": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "brain": torch.arange(6, dtype=torch.bfloat16).reshape(3, 2),
    "turned": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
}


@contextmanager
def here(environ: Mapping[str, str]) -> Iterator[Path]:
    """In place of a throw-away environment."""
    yield Path(sys.executable)


def repository(folder: Path, shards: int = 1) -> Path:
    (folder / "1_Pooling").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "1_Pooling/config.json"):
        (folder / name).write_text("{}")
    (folder / "modeling.py").write_text("raise SystemExit")
    if shards == 1:
        torch.save(TENSORS, folder / "pytorch_model.bin")
        return folder
    where = {}
    for number, (name, tensor) in enumerate(TENSORS.items(), 1):
        where[name] = f"pytorch_model-{number:05}-of-00003.bin"
        torch.save({name: tensor}, folder / where[name])
    index = {"metadata": {}, "weight_map": where}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_tensors_keep_their_values_and_formats(tmp_path: Path, shards: int) -> None:
    source = repository(tmp_path / "source", shards)
    made = convert_folder(source, tmp_path / "made", os.environ, here)
    with open_tensors(made) as tensors:
        assert set(tensors.names) == set(TENSORS)
        assert [tensors.dtype(name) for name in TENSORS] == ["F16", "BF16", "F32"]
        for name, tensor in TENSORS.items():
            assert (tensors.read(name) == tensor.float().numpy()).all()
    names = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    assert names >= {"config.json", "tokenizer.json", "1_Pooling/config.json"}
    assert not any(name.endswith((".py", ".bin", "bin.index.json")) for name in names)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_shared_tensors_in_a_file_of_an_old_version_of_pytorch(tmp_path: Path) -> None:
    source = repository(tmp_path / "source")
    shared = torch.ones(4, 2)
    state = {"state_dict": {"embedding": shared, "head": shared}}
    path = source / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    with open_tensors(convert_folder(source, tmp_path / "made", os.environ, here)) as tensors:
        assert (tensors.read("embedding") == tensors.read("head")).all()


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    source = repository(tmp_path / "source")
    torch.save({"w": Evil(tmp_path / "ran")}, source / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="UnpicklingError"):
        convert_folder(source, tmp_path / "made", os.environ, here)
    assert {path.name for path in tmp_path.iterdir()} == {"source"}


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    source = repository(tmp_path / "source")
    os.truncate(source / "pytorch_model.bin", 100)
    with pytest.raises(WeightsError, match="was not converted"):
        convert_folder(source, tmp_path / "made", os.environ, here)


def test_an_index_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    source = repository(tmp_path / "source", shards=3)
    index = {"weight_map": {"w": "../other.bin"}}
    (source / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="not next to it"):
        convert_folder(source, tmp_path / "made", os.environ, here)


def test_too_much_memory_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "SPARE_BYTES", 1 << 20)
    with pytest.raises(WeightsError, match=r"conversion ended|not converted"):
        convert_folder(repository(tmp_path / "source"), tmp_path / "made", os.environ, here)


CONFINED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import unpickle
if not unpickle.only_writes_below(Path(sys.argv[2]) / "inside"):
    sys.exit(77)
(Path(sys.argv[2]) / "inside" / "file").write_text("written")
outside = Path(sys.argv[2]) / "outside"
attempts = [outside.touch, outside.mkdir]
if unpickle.landlock_abi() >= unpickle.TRUNCATE_ABI:
    attempts.append(lambda: os.truncate(sys.argv[3], 0))
for refused in attempts:
    try:
        refused()
    except PermissionError:
        continue
    sys.exit(1)
"""


def test_landlock_confines_writes(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    existing = tmp_path / "existing"
    existing.write_text("content")
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, str(Path(unpickle.__file__).parent), str(tmp_path),
         str(existing)],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip("this kernel has no Landlock")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "inside" / "file").read_text() == "written"
    assert existing.read_text() == "content"


def test_a_model_of_the_hub_is_found_afterwards(tmp_path: Path) -> None:
    source = repository(tmp_path / "repository")
    store = Store(tmp_path / "models")
    spec = ModelSpec.model_validate({"model": "acme/old", "source": "hf://acme/old@main"})
    with Hub({"acme/old": source}).serving() as hub:
        reports: list[tuple[PrepareStage, int, int | None]] = []
        environ = os.environ | {"HF_ENDPOINT": hub.url}
        folder = convert_model(spec, store, environ, here, lambda *one: reports.append(one))
    *fetching, converting = reports
    assert {stage for stage, _, _ in fetching} == {PrepareStage.FETCHING}
    assert max(done for _, done, _ in fetching) >= (source / "pytorch_model.bin").stat().st_size
    assert converting == (PrepareStage.CONVERTING, 0, None)
    assert folder == store.folder(spec)
    assert is_there(spec, store)
    with open_tensors(folder) as tensors:
        assert set(tensors.names) == set(TENSORS)
    assert not (folder / "modeling.py").exists()
    assert not store.staging(spec, ".pickles").exists()


def test_a_damaged_folder_is_replaced(tmp_path: Path) -> None:
    source = repository(tmp_path / "repository")
    store = Store(tmp_path / "models")
    spec = ModelSpec.model_validate({"model": "acme/old", "source": "hf://acme/old@main"})
    with Hub({"acme/old": source}).serving() as hub:
        environ = os.environ | {"HF_ENDPOINT": hub.url}
        folder = convert_model(spec, store, environ, here)
        os.truncate(folder / "model.safetensors", 9)
        assert not is_there(spec, store)
        assert convert_model(spec, store, environ, here) == folder
    with open_tensors(folder) as tensors:
        assert set(tensors.names) == set(TENSORS)
