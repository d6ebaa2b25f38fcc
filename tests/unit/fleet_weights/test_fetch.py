"""Weights on disk: search, atomic completion, other processes, full disks."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_contract.spec_parts import WeightFile, WeightPart
from fleet_weights.address import ImagePath
from fleet_weights.assemble import claim_path, image_path
from fleet_weights.errors import Stopped, WeightsError
from fleet_weights.fetch import fetch, is_there, locate
from fleet_weights.store import Store

BODY = os.urandom(400_000)


def spec(**fields: Any) -> ModelSpec:
    return ModelSpec(model="a/b", **fields)


def test_a_local_folder_is_used_in_place(tmp_path: Path) -> None:
    of = spec(source=f"file://{tmp_path}")
    store = Store(tmp_path / "models")
    assert locate(of, store) == fetch(of, store) == tmp_path
    assert not store.root.exists()


def test_a_local_file_with_its_checksum(tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(BODY)
    sha256 = hashlib.sha256(BODY).hexdigest()
    store = Store(tmp_path / "models")
    assert fetch(spec(source=f"file://{file}", sha256=sha256), store) == file
    with pytest.raises(WeightsError, match=sha256):
        fetch(spec(source=f"file://{file}", sha256="0" * 64), store)
    with pytest.raises(WeightsError, match="is a folder"):
        fetch(spec(source=f"file://{tmp_path}", sha256=sha256), store)


def test_a_missing_local_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        fetch(spec(source=f"file://{tmp_path}/nothing"), Store(tmp_path))


def test_an_image_is_searched_at_its_mount_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its folder `models`, if it has one and the address names none."""
    assert image_path(ImagePath("r/m:1", ""), str(tmp_path)) == tmp_path
    assert image_path(ImagePath("r/m:1", "x"), str(tmp_path)) == tmp_path / "x"
    (tmp_path / "models").mkdir()
    assert image_path(ImagePath("r/m:1", ""), str(tmp_path)) == tmp_path / "models"
    monkeypatch.setattr("fleet_weights.plan.IMAGE_MOUNT", str(tmp_path))
    with pytest.raises(WeightsError, match="does not exist") as caught:
        locate(spec(source="oci://r/m:1/other"), Store(tmp_path))
    assert "the image has no such" in caught.value.hint
    monkeypatch.setattr("fleet_weights.plan.IMAGE_MOUNT", str(tmp_path / "nothing"))
    with pytest.raises(WeightsError, match="are not in") as caught:
        locate(spec(source="oci://r/m:1/other"), Store(tmp_path))
    assert "modelfleet pull" in caught.value.hint


def test_a_claim_is_searched_at_its_mount_path(tmp_path: Path) -> None:
    from fleet_weights.address import VolumePath

    assert claim_path(VolumePath("weights", "x/y")) == Path("/weights/x/y")
    with pytest.raises(WeightsError, match="does not exist") as caught:
        locate(spec(source="pvc://no-such-claim/of-these-tests"), Store(tmp_path))
    assert "in pods" in caught.value.hint


def test_files_of_this_machine_are_joined(tmp_path: Path) -> None:
    for name, body in (("one", b"first "), ("two", b"second")):
        (tmp_path / name).write_bytes(body)
    parts = [WeightPart(url=f"file://{tmp_path}/{name}") for name in ("one", "two")]
    of = spec(weights=[WeightFile(path="model.bin", parts=parts)])
    folder = fetch(of, Store(tmp_path / "models"))
    assert (folder / "model.bin").read_bytes() == b"first second"


@pytest.mark.parametrize("damage", ["cut", "deleted"])
def test_damaged_weights_are_fetched_again(tmp_path: Path, damage: str) -> None:
    (tmp_path / "one").write_bytes(b"whole")
    part = WeightPart(url=f"file://{tmp_path}/one")
    of, store = (
        spec(weights=[WeightFile(path="model.bin", parts=[part])]),
        Store(tmp_path / "models"),
    )
    file = fetch(of, store) / "model.bin"
    file.write_bytes(b"wh") if damage == "cut" else file.unlink()
    assert not is_there(of, store)
    with pytest.raises(WeightsError, match=r"damaged: model\.bin"):
        locate(of, store)
    assert (fetch(of, store) / "model.bin").read_bytes() == b"whole"


def test_files_added_by_an_engine_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"whole")
    part = WeightPart(url=f"file://{tmp_path}/one")
    of, store = (
        spec(weights=[WeightFile(path="model.bin", parts=[part])]),
        Store(tmp_path / "models"),
    )
    folder = fetch(of, store)
    (folder / "openvino-ir").mkdir()
    (folder / "openvino-ir" / "openvino_model.xml").write_text("<net/>")
    assert locate(of, store) == folder


def test_a_joined_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"\x80\x02")
    part = WeightPart(url=f"file://{tmp_path}/one")
    of = spec(weights=[WeightFile(path="model.bin", parts=[part])])
    store = Store(tmp_path / "models")
    with pytest.raises(WeightsError, match="pickle"):
        fetch(of, store)
    assert not is_there(of, store)


def test_the_error_for_missing_weights_has_the_command_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="are not in") as caught:
        locate(spec(source="hf://a/b"), Store(tmp_path))
    assert "modelfleet pull a/b" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "has no source of weights"),
        ({"source": "https://h.example/a.gguf"}, "no sha256"),
        ({"source": "https://h.example/a.pt", "sha256": "0" * 64}, "Modelfleet does not load"),
        ({"source": "ftp://h.example/a"}, "unknown scheme"),
        ({"weights": [{"path": "a.gguf", "parts": [{"url": "hf://a/b"}]}]}, "a part of a file"),
        ({"weights": [{"path": "a/../../b.json", "parts": [{"url": "file:///x"}]}]}, "outside"),
        ({"source": "file:///x", "weights": [{"path": "a.gguf", "parts": [{"url": "file:///y"}]}]},
         "and a list"),
    ],
)  # fmt: skip
def test_specs_that_cannot_be_fetched(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        fetch(spec(**fields), Store(tmp_path))


def test_stop_ends_the_wait_for_another_process(server: Any, tmp_path: Path) -> None:
    from filelock import FileLock

    of, store, stop = spec(source="hf://a/b"), Store(tmp_path), threading.Event()
    store.lock(of).parent.mkdir(parents=True)
    stop.set()
    with FileLock(store.lock(of)), pytest.raises(Stopped):
        fetch(of, store, environ={"HF_ENDPOINT": server.url}, stop=stop)


def test_free_space_is_checked_before_the_download(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put_repository("a/b", {"config.json": b"{}", "model.safetensors": BODY})
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(WeightsError, match="are free") as caught:
        fetch(spec(source="hf://a/b"), Store(tmp_path), environ={"HF_ENDPOINT": server.url})
    assert "MODELS_DIR" in caught.value.hint
    assert [path for path, _ in server.seen] == ["/api/models/a/b/revision/main"]
