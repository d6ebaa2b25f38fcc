"""Kernels that are compiled when they are first used, and what replaces them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_server.engines.vllm import toolkit


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of PATH with ninja and a C++ compiler."""
    for name in ("ninja", "c++"):
        program(tmp_path / "programs" / name)
    return tmp_path / "programs"


@pytest.fixture(autouse=True)
def no_toolkit_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolkit, "DEFAULT_HOME", str(tmp_path / "usual"))


@pytest.mark.parametrize("name", ["CUDA_HOME", "CUDA_PATH"])
def test_a_toolkit_is_found_by_its_variable(tmp_path: Path, programs: Path, name: str) -> None:
    environ = {"PATH": str(programs), name: str(tmp_path / "cuda")}
    assert not toolkit.has_compilers(environ)
    program(tmp_path / "cuda" / "bin" / "nvcc")
    assert toolkit.has_compilers(environ)


def test_a_toolkit_is_found_on_the_path_and_at_the_usual_place(
    tmp_path: Path, programs: Path
) -> None:
    assert not toolkit.has_compilers({"PATH": str(programs)})
    nvcc = program(tmp_path / "elsewhere" / "bin" / "nvcc")
    assert toolkit.has_compilers({"PATH": f"{programs}:{nvcc.parent}"})
    assert not toolkit.has_compilers({"PATH": str(programs), "CUDA_HOME": str(tmp_path)})
    program(tmp_path / "usual" / "bin" / "nvcc")
    assert toolkit.has_compilers({"PATH": str(programs)})


@pytest.mark.parametrize("missing", ["ninja", "c++"])
def test_nvcc_alone_compiles_nothing(tmp_path: Path, programs: Path, missing: str) -> None:
    program(tmp_path / "usual" / "bin" / "nvcc")
    (programs / missing).unlink()
    assert not toolkit.has_compilers({"PATH": str(programs)})


def test_another_cxx_compiler_may_be_named(tmp_path: Path, programs: Path) -> None:
    program(tmp_path / "usual" / "bin" / "nvcc")
    (programs / "c++").rename(programs / "clang++")
    assert toolkit.has_compilers({"PATH": str(programs), "CXX": "clang++"})
    assert not toolkit.has_compilers({"PATH": str(programs), "CXX": "missing"})


def test_flashinfer_itself_is_needed_too(tmp_path: Path, programs: Path) -> None:
    program(tmp_path / "usual" / "bin" / "nvcc")
    assert toolkit.has_compilers({"PATH": str(programs)})
    assert not toolkit.can_compile({"PATH": str(programs)})


def test_values_of_users_are_kept() -> None:
    assert toolkit.without_kernels({}) == dict.fromkeys(toolkit.VARIABLES, "0")
    own = {"VLLM_USE_FLASHINFER_SAMPLER": "1"}
    assert toolkit.without_kernels(own) == {"VLLM_USE_DEEP_GEMM": "0"}
