"""Checks of CPU, memory, disk, GPU and installed engines."""

from __future__ import annotations

import platform
import shutil
import tempfile
from pathlib import Path

from fleet_cli.doctor.finding import Finding, Level
from fleet_contract.cpus import CGROUP, available_cpus
from fleet_contract.installation import install_command
from fleet_local.demand.budget import MEMORY_INFO, available
from fleet_prepare.machine import Machine

CPU_INFO = Path("/proc/cpuinfo")
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd")
LEAST_MEMORY_BYTES = 2 << 30
"""The demo's three models take 1 to 2 GiB (docs/benchmarks.md)."""
LEAST_DISK_BYTES = 2 << 30


def cpu(info: Path = CPU_INFO, architecture: str | None = None) -> Finding:
    """Number of CPUs and vector extensions; without AVX2 the engines are several times slower."""
    flags: set[str] = set()
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, text = line.partition(":")
            if name.strip() in ("flags", "Features"):
                flags |= set(text.split())
    found = [name for name in FEATURES if name in flags]
    kind = platform.machine() if architecture is None else architecture
    number = available_cpus()
    cpus = f"{number} {'CPU' if number == 1 else 'CPUs'} ({kind})"
    if flags and kind in ("x86_64", "AMD64") and "avx2" not in flags:
        return Finding(
            "cpu", Level.WARNING, f"{cpus} without AVX2: models are several times slower",
            "Use a newer CPU, or let the virtual machine have the host's CPU model.",
        )  # fmt: skip
    return Finding("cpu", Level.OK, f"{cpus}: {', '.join(found) or 'vector extensions unknown'}")


def memory(info: Path = MEMORY_INFO, cgroup: Path = CGROUP) -> Finding:
    """The memory that is available, within the limit of the container."""
    free = available(info, cgroup)
    if free is None:
        return Finding("memory", Level.OK, "available memory unknown on this system")
    text = f"{_size(free)} available"
    if free < LEAST_MEMORY_BYTES:
        return Finding(
            "memory", Level.WARNING, f"{text}: little for several models",
            "End other programs, raise the container's limit, or serve fewer or smaller models"
            " with MODELS.",
        )  # fmt: skip
    return Finding("memory", Level.OK, text)


def disk(check: str, folder: Path, remedy: str) -> Finding:
    """Whether files can be created in `folder`, or in the folder that it would be created in."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Finding(
            check, Level.ERROR, f"{folder} cannot be written to: {error.strerror}", remedy
        )
    text = f"{folder}: {_size(free)} free"
    if free < LEAST_DISK_BYTES:
        return Finding(check, Level.WARNING, f"{text}: little for weights", remedy)
    return Finding(check, Level.OK, text)


def gpu(machine: Machine) -> Finding:
    """The accelerator, and whether a library for it is installed."""
    intel = sorted(machine.intel)
    also = f"; Intel {' and '.join(intel)} with MODEL_DEVICE={intel[0]}" if intel else ""
    if machine.accelerator == "mps" and not machine.has_torch:
        return Finding(
            "gpu", Level.WARNING, "a Mac's GPU, which is not used: torch is not installed",
            f"Run `{install_command('torch')}`.",
        )  # fmt: skip
    if machine.accelerator == "cuda" and not machine.torch_uses("cuda"):
        speech = " but for speech" if machine.has_cublas else ""
        return Finding(
            "gpu", Level.WARNING, f"a GPU that is not used{speech}: torch has no build for it",
            f"Run `{install_command('torch')}`.",
        )  # fmt: skip
    if machine.accelerator == "cpu" and machine.has_amd:
        return Finding(
            "gpu", Level.OK,
            "an AMD GPU, used by `engine: llamacpp` with `device: cuda` if its build is for it, and"
            f" by a ROCm build of torch: other models run on the CPU{also}",
        )  # fmt: skip
    if machine.accelerator == "cpu":
        return Finding("gpu", Level.OK, f"none: models run on the CPU{also}")
    return Finding("gpu", Level.OK, f"{machine.accelerator}{also}")


def engines(machine: Machine) -> Finding:
    """The packages of engines that are installed."""
    installed = {
        "openvino": machine.has_openvino, "ctranslate2": machine.has_ctranslate2,
        "llamacpp": machine.has_llamacpp, "torch": machine.has_torch, "vllm": machine.has_vllm,
    }  # fmt: skip
    if not machine.has_engines:
        return Finding(
            "engines", Level.ERROR, "no engine is installed", f"Run `{install_command('server')}`."
        )
    missing = [name for name, there in installed.items() if not there]
    text = ", ".join(name for name, there in installed.items() if there)
    return Finding(
        "engines", Level.OK, f"{text} (not installed: {', '.join(missing)})" if missing else text
    )


def _size(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"
