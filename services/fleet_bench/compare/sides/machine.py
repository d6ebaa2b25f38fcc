"""A description of this machine for reports."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd")
CPU_INFO = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """CPU, cores, vector extensions, load average, Python version and date.

    Call it before measuring, as measuring raises the load; figures taken above 0.5 are doubtful.
    """
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): text.strip() for name, text in known.items()}
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "features": [name for name in FEATURES if name in flags],
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def described(found: dict[str, Any]) -> str:
    """The description as one line."""
    features = ", ".join(found["features"]) or "no vector extensions known"
    return (
        f"{found['date']}: {found['cores']} cores of {found['cpu']} ({features}), "
        f"load {found['load']}, Python {found['python']}"
    )
