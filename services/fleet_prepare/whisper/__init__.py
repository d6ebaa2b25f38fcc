"""Converts Hugging Face's Whisper repositories to folders that CTranslate2 loads, without torch.

This package is cheap to import; `convert` imports NumPy, tokenizers and CTranslate2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fleet_prepare.conversion import Conversion

VERSION = 1
"""Incremented when the output for the same repository changes."""
QUANTIZATIONS = ("int8", "int8_float16", "float16", "float32")
"""Number formats of the weights. CTranslate2 computes in any format that the device has, whatever
the file holds; int8 is a quarter of the size of float32."""
ARCHITECTURE = "WhisperForConditionalGeneration"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")


def supports(names: Collection[str], config: Mapping[str, Any]) -> str | None:
    """Why a repository of these files and this config.json converts, or None.

    Some fine-tunes lack `architectures`; they count as speech recognition.
    """
    architectures = config.get("architectures") or [ARCHITECTURE]
    if config.get("model_type") != "whisper" or not isinstance(architectures, list):
        return None
    if ARCHITECTURE not in architectures:
        return None
    if not any(name in names for name in WEIGHTS):
        return None
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= set(names):
        return None
    return "Whisper in safetensors is converted for CTranslate2"


def convert(conversion: Conversion) -> None:
    """Write model.bin, config.json, vocabulary.json, tokenizer.json and preprocessor_config.json.

    `conversion.quantization` is one of QUANTIZATIONS. Raises WeightsError that names the file,
    tensor or token at fault, and OSError where the target cannot be written.
    """
    from fleet_prepare.whisper.folder import write

    write(conversion)
