"""Arguments to load a folder or GGUF file with transformers: no network, code or pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet_bench.reference.protocols import Unusable


def place(device: str, dtype: str) -> tuple[str, Any]:
    """Device and torch dtype; `auto` is CUDA with bfloat16 if available, else the CPU with float32.

    Many CPUs compute bfloat16 slowly.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto":
        dtype = "float32" if device == "cpu" else "bfloat16"
    return device, getattr(torch, dtype)


def source(path: Path) -> tuple[Path, dict[str, Any]]:
    """Folder and arguments of `from_pretrained`. Raises Unusable."""
    always: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    files = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    folder = path.parent if path.is_file() else path
    if any(folder.glob("*.safetensors")) and not path.is_file():
        return folder, always
    if len(files) == 1 and files[0].suffix == ".gguf":
        return folder, {**always, "gguf_file": files[0].name}
    raise Unusable(f"{path} has neither safetensors nor a single GGUF file for transformers")


def weights(path: Path, dtype: Any) -> dict[str, Any]:
    """Arguments to load the weights in `dtype`; a GGUF file is dequantised."""
    _, arguments = source(path)
    if "gguf_file" in arguments:
        from transformers import GgufConfig

        arguments["quantization_config"] = GgufConfig(dequantize=True)
    else:
        arguments["use_safetensors"] = True
    return {**arguments, "dtype": dtype}
