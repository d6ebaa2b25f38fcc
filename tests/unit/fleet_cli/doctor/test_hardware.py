"""Checks of the hardware, from files of the kernel and the installed packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_cli.doctor import hardware
from fleet_cli.doctor.finding import Level
from fleet_contract.installation import install_command
from fleet_prepare.machine import Machine

BARE = Machine("cpu", False, has_openvino=False, has_ctranslate2=False)


@pytest.mark.parametrize(
    ("lines", "architecture", "level", "text"),
    [
        ("flags\t: fpu avx2 avx512f\n", "x86_64", Level.OK, ": avx2, avx512f"),
        ("flags\t: fpu sse4_2\n", "x86_64", Level.WARNING, "without AVX2"),
        ("Features\t: fp asimd\n", "aarch64", Level.OK, ": asimd"),
        ("", "x86_64", Level.OK, "vector extensions unknown"),
    ],
)
def test_cpu(tmp_path: Path, lines: str, architecture: str, level: Level, text: str) -> None:
    (tmp_path / "cpuinfo").write_text(lines)
    finding = hardware.cpu(tmp_path / "cpuinfo", architecture)
    assert finding.level is level
    assert text in finding.message
    assert bool(finding.remedy) == (level is not Level.OK)


def test_memory_is_bounded_by_the_container(tmp_path: Path) -> None:
    info = tmp_path / "meminfo"
    info.write_text(f"MemTotal: {64 << 20} kB\nMemAvailable: {8 << 20} kB\n")
    assert hardware.memory(info, tmp_path).message == "8.0 GiB available"
    (tmp_path / "memory.max").write_text(f"{3 << 30}\n")
    (tmp_path / "memory.current").write_text(f"{2 << 30}\n")
    finding = hardware.memory(info, tmp_path)
    assert (finding.level, finding.message[:7]) == (Level.WARNING, "1.0 GiB")
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware.memory(info, tmp_path).level is Level.OK
    assert "unknown" in hardware.memory(tmp_path / "none", tmp_path).message


def test_disk(tmp_path: Path) -> None:
    finding = hardware.disk("disk", tmp_path / "not" / "yet", "Make room.")
    assert finding.level is not Level.ERROR
    assert not (tmp_path / "not").exists()
    (tmp_path / "file").touch()
    finding = hardware.disk("disk", tmp_path / "file" / "models", "Make room.")
    assert (finding.level, finding.remedy) == (Level.ERROR, "Make room.")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.parametrize(
    ("machine", "level", "text"),
    [
        (Machine("cpu", True), Level.OK, "none: models run on the CPU"),
        (Machine("cpu", True, intel=frozenset({"gpu"})), Level.OK, "with MODEL_DEVICE=gpu"),
        (Machine("cpu", True, has_amd=True), Level.OK, "an AMD GPU, used by `engine: llamacpp`"),
        (Machine("cuda", True, torch_cuda=True), Level.OK, "cuda"),
        (Machine("cuda", True, torch_cuda=False), Level.WARNING, "torch has no build for it"),
        (Machine("cuda", False, has_cublas=True), Level.WARNING, "not used but for speech"),
        (Machine("mps", False), Level.WARNING, "torch is not installed"),
    ],
)
def test_gpu(machine: Machine, level: Level, text: str) -> None:
    finding = hardware.gpu(machine)
    assert finding.level is level
    assert text in finding.message
    assert (install_command("torch") in finding.remedy) == (level is Level.WARNING)


def test_engines() -> None:
    assert hardware.engines(BARE).level is Level.ERROR
    assert install_command("server") in hardware.engines(BARE).remedy
    finding = hardware.engines(Machine("cpu", True, has_ctranslate2=False))
    assert finding.message == "openvino, torch (not installed: ctranslate2, llamacpp, vllm)"
