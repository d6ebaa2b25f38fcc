"""LoRA adapters in GGUF files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xllamacpp

from fleet_prepare import gguf_head
from fleet_server.load_error import LoadError

KIND = "general.type", "adapter"


def lora(name: str, folder: Path) -> Any:
    """The adapter in a folder with one GGUF file, or in that file, for `CommonParams`.

    Raises LoadError.
    """
    found = [folder] if folder.is_file() else sorted(folder.glob("*.gguf"))
    if len(found) != 1:
        raise LoadError(
            f"The adapter {name} must be one GGUF file for the llamacpp engine; {folder} holds "
            f"{len(found)}.",
            "convert_lora_to_gguf.py of llama.cpp converts adapters in PEFT's format.",
        )
    if (gguf_head.metadata(found[0]) or {}).get(KIND[0]) != KIND[1]:
        raise LoadError(f"{found[0].name} of the adapter {name} is not a GGUF file of an adapter.")
    info = xllamacpp.CommonAdapterLoraInfo()
    info.path, info.scale = str(found[0]), 0.0
    return info
