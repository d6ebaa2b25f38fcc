"""Detects which number formats the CPU supports."""

from __future__ import annotations

from pathlib import Path


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU supports bfloat16 (AVX512-BF16, AMX or AVX-NE-CONVERT), from the kernel's
    list of flags."""
    try:
        flags = next(line for line in cpuinfo.read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return False
    return bool({"avx512_bf16", "amx_bf16", "avx_ne_convert"} & set(flags.split()))
