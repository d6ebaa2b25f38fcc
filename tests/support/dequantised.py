"""A GGUF file as safetensors, for engines and libraries that read nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def dequantised(gguf: Path, folder: Path) -> Path:
    """Write the model of `gguf` in bfloat16 to `folder`, with transformers, and return the folder.
    Needs torch and the package gguf."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    options: dict[str, Any] = {"dtype": torch.bfloat16}
    if hasattr(
        transformers, "GgufConfig"
    ):  # from 5.24 on it keeps the weights in the file's format
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    AutoModelForCausalLM.from_pretrained(**source, **options).save_pretrained(folder)
    return folder
