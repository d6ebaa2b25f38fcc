"""Detection of devices, from installed packages and not from device files alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fleet_prepare import cublas, machine


@pytest.fixture
def nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device file of NVIDIA's driver, in a folder of the test."""
    file = tmp_path / "nvidia0"
    file.touch()
    monkeypatch.setattr(machine, "NVIDIA_FILES", (file,))
    return file


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages; only these are installed."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder)])
    for name in ("torch", "openvino", "ctranslate2", "nvidia", "xllamacpp"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def install(packages: Path, name: str, version: str = "") -> None:
    (packages / name).mkdir()
    (packages / name / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (packages / name / "version.py").write_text(version)


@pytest.mark.usefixtures("nvidia", "packages")
def test_a_driver_without_any_library() -> None:
    here = machine.here({})
    assert (here.accelerator, here.has_torch, here.torch_cuda) == ("cuda", False, False)
    assert not here.has_engines


def test_llamacpp_is_an_engine(packages: Path) -> None:
    assert not machine.here({}).has_llamacpp
    install(packages, "xllamacpp")
    here = machine.here({})
    assert here.has_llamacpp
    assert here.has_engines


@pytest.mark.usefixtures("nvidia")
@pytest.mark.parametrize(
    ("version", "usable"),
    [
        ("cuda: Optional[str] = '13.2'", True),
        ("cuda = '12.8'", True),
        ("cuda: Optional[str] = None\nhip: Optional[str] = None", False),
        ("cuda = None", False),
    ],
)
def test_the_build_of_torch_decides(packages: Path, version: str, usable: bool) -> None:
    install(packages, "torch", f"__version__ = '2.15.0'\n{version}\n")
    here = machine.here({})
    assert (here.has_torch, here.torch_cuda) == (True, usable)
    assert here.torch_uses("cuda:1") is usable
    assert here.torch_uses("cpu")


@pytest.mark.usefixtures("nvidia")
@pytest.mark.parametrize(
    ("visible", "accelerator"),
    [("", "cpu"), ("-1", "cpu"), ("0", "cuda"), ("1,0", "cuda"), ("GPU-8932f937", "cuda")],
)
def test_hidden_gpus_are_not_used(visible: str, accelerator: str) -> None:
    assert machine.here({"CUDA_VISIBLE_DEVICES": visible}).accelerator == accelerator


def test_a_mac_has_metal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "NVIDIA_FILES", ())
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert machine.here({}).accelerator == "mps"
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert machine.here({}).accelerator == "cpu"


def test_torch_that_is_blocked_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not machine.here({}).has_torch


@pytest.mark.usefixtures("nvidia")
def test_cublas_is_found_in_its_package(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A library that an engine has loaded in this process stays loaded.
    monkeypatch.setattr(cublas, "_loads", lambda name: False)
    assert not machine.here({}).has_cublas
    library = packages / "nvidia" / "cublas" / "lib" / cublas.LIBRARY
    library.parent.mkdir(parents=True)
    library.touch()
    assert cublas.packaged() == library
    assert machine.here({}).has_cublas


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.4.43482-0f2d60242'", ("cuda", True)),
        ("cuda = None\nhip = None", ("cpu", False)),
        ("cuda = '13.0'\nhip = None", ("cpu", False)),
    ],
)
def test_an_amd_gpu_is_cuda_where_torch_uses_it(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str,
    expected: tuple[str, bool],
) -> None:  # fmt: skip
    monkeypatch.setattr(machine, "NVIDIA_FILES", ())
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").touch()
    monkeypatch.setattr(cublas, "is_there", lambda: True)
    install(packages, "torch", version + "\n")
    here = machine.here({})
    assert (here.accelerator, here.torch_cuda) == expected
    assert not here.has_cublas
    assert here.has_amd
    hidden = machine.here({"CUDA_VISIBLE_DEVICES": "-1"})
    assert (hidden.accelerator, hidden.has_amd) == ("cpu", False)


def test_an_amd_gpu_is_seen_without_torch(tmp_path: Path) -> None:
    """Vulkan needs the render node only, ROCm also the file of the driver for computing."""
    assert not machine.amd_gpu(tmp_path)
    device(tmp_path, "drm/renderD128", "0x8086", "dri/renderD128")
    device(tmp_path, "drm/renderD129", "0x1002", None)
    assert not machine.amd_gpu(tmp_path)
    device(tmp_path, "drm/renderD130", "0x1002", "dri/renderD130")
    assert machine.amd_gpu(tmp_path)
    (tmp_path / "only" / "dev").mkdir(parents=True)
    (tmp_path / "only/dev/kfd").touch()
    assert machine.amd_gpu(tmp_path / "only")


def device(root: Path, listed: str, vendor: str, node: str | None) -> None:
    """A device in /sys, and its file in /dev unless `node` is None."""
    folder = root / "sys/class" / listed / "device"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    if node is not None:
        file = root / "dev" / node
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_intel_devices_that_this_process_may_open(tmp_path: Path) -> None:
    assert machine.intel_devices(tmp_path) == frozenset()
    device(tmp_path, "drm/renderD128", "0x10de", "dri/renderD128")
    device(tmp_path, "drm/renderD129", "0x8086", None)
    assert machine.intel_devices(tmp_path) == frozenset()
    device(tmp_path, "drm/renderD130", "0x8086", "dri/renderD130")
    assert machine.intel_devices(tmp_path) == frozenset({"gpu"})
    device(tmp_path, "accel/accel0", "0x8086", "accel/accel0")
    assert machine.intel_devices(tmp_path) == frozenset({"gpu", "npu"})
