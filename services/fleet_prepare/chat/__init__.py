"""Converts chat models in safetensors to the OpenVINO IR that GenAI's pipelines read.

The result is a folder of openvino_model.xml and .bin, openvino_detokenizer.xml and .bin, and the
repository's own config.json, tokenizer.json and chat template. Neither torch nor transformers is
needed; OpenVINO is imported by `convert` only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fleet_prepare.chat import architecture
from fleet_prepare.conversion import Conversion

VERSION = 2
"""Incremented when the output for the same repository changes."""
QUANTIZATIONS = ("int8", "int4", "none")


def supports(names: Collection[str], config: Mapping[str, Any]) -> str | None:
    """Why a repository of these files and this config.json can be converted, or None."""
    if refusal(names, config) is not None:
        return None
    family = architecture.read(config).family
    return f"its {family} safetensors are converted to OpenVINO IR"


def refusal(names: Collection[str], config: Mapping[str, Any]) -> str | None:
    """Why such a repository cannot be converted and what can be, or None."""
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        return "The repository holds no safetensors."
    if "tokenizer.json" not in names:
        return "The repository holds no tokenizer.json; AutoTokenizer.save_pretrained writes one."
    reason = architecture.refusal(config)
    return None if reason is None else f"config.json: {reason}. {architecture.SUPPORTED}"


def convert(conversion: Conversion) -> None:
    """Write the IR. Raises WeightsError that names the file or tensor at fault.

    `conversion.quantization` is one of QUANTIZATIONS: 8 bits a weight; 4 bits, with embeddings,
    the last layer and each layer's values and down projection in 8; or the repository's own format.
    """
    from fleet_prepare.chat import converter

    converter.run(conversion)
