"""LoRA adapters in GGUF files, and in PEFT's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xllamacpp

from fleet_prepare import gguf_head
from fleet_prepare.gguf_head import Value
from fleet_server.engines.llamacpp import peft
from fleet_server.load_error import LoadError

KIND = "general.type", "adapter"


def lora(name: str, folder: Path, base: Mapping[str, Value], scratch: Path) -> Any:
    """The adapter in a folder, or in one GGUF file, for `CommonParams`.

    `base` is the metadata of the model's GGUF; an adapter in PEFT's format is converted to a file
    in `scratch`, which is needed until the model is loaded. Raises LoadError.
    """
    found = [folder] if folder.is_file() else sorted(folder.glob("*.gguf"))
    if not found and (folder / peft.WEIGHTS).is_file():
        found = [scratch / f"{name}.gguf"]
        peft.convert(name, folder, base, found[0])
    if len(found) != 1:
        raise LoadError(
            f"The adapter {name} must be one GGUF file, or a folder in PEFT's format, for the "
            f"llamacpp engine; {folder} holds {len(found)} GGUF files and no {peft.WEIGHTS}.",
            "convert_lora_to_gguf.py of llama.cpp converts adapters.",
        )
    if (gguf_head.metadata(found[0]) or {}).get(KIND[0]) != KIND[1]:
        raise LoadError(f"{found[0].name} of the adapter {name} is not a GGUF file of an adapter.")
    info = xllamacpp.CommonAdapterLoraInfo()
    info.path, info.scale = str(found[0]), 0.0
    return info
