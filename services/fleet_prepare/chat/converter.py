"""Runs a conversion: writes the graph and its weights, then tokenizer and configuration."""

from __future__ import annotations

import sys
from typing import Any

# OpenVINO then falls back to a stub, so no telemetry can be sent.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

from fleet_prepare.chat import (  # noqa: E402
    architecture,
    detokenizer,
    graph,
    repository,
    vocabulary,
)
from fleet_prepare.chat.calibration import Calibration, token_ids  # noqa: E402
from fleet_prepare.chat.checkpoint import Checkpoint  # noqa: E402
from fleet_prepare.chat.ir_file import IrFile  # noqa: E402
from fleet_prepare.chat.weights import WeightPrecision, Weights  # noqa: E402
from fleet_prepare.conversion import Conversion  # noqa: E402
from fleet_prepare.safetensors_file import Tensors, open_tensors  # noqa: E402
from fleet_weights.errors import WeightsError  # noqa: E402

MODEL = "openvino_model"
UNUSED = (".rotary_emb.inv_freq", ".masked_bias", ".attn.bias")
"""Name endings of buffers in old checkpoints that have no effect on the result."""


def run(conversion: Conversion) -> None:
    """Raises WeightsError that names the file or tensor at fault."""
    source, target = conversion.source, conversion.target
    if conversion.quantization not in tuple(WeightPrecision):
        raise WeightsError(
            f"Chat models are not converted to {conversion.quantization!r}.",
            f"Use one of {', '.join(WeightPrecision)}.",
        )
    config = repository.config(source)
    arch = architecture.read(config)
    tokens = vocabulary.read(source / "tokenizer.json")
    if (last := max(tokens.pieces)) >= arch.vocab_size:
        raise WeightsError(
            f"{source / 'tokenizer.json'} has token {last}; config.json has a vocabulary of "
            f"{arch.vocab_size}."
        )
    generation = repository.generation(source, config, tokens)
    with open_tensors(source) as tensors:
        _model(conversion, arch, tensors)
    detokenizer.write(target, tokens, arch.vocab_size, repository.special_ids(generation))
    repository.copy(source, target, generation)


def _model(conversion: Conversion, arch: architecture.Architecture, tensors: Tensors) -> Any:
    checkpoint = Checkpoint(tensors, arch.fp8_block, conversion.progress, conversion.check)
    with IrFile(conversion.target, MODEL) as file:
        calibration = None
        if conversion.quantization == WeightPrecision.INT4:
            ids = token_ids(conversion.source / "tokenizer.json", arch.vocab_size)
            calibration = Calibration(arch, checkpoint, ids)
        weights = Weights(checkpoint, file, WeightPrecision(conversion.quantization), calibration)
        model = graph.build(arch, weights)
        _check_all_used(checkpoint, arch)
        file.finish(model)


def _check_all_used(checkpoint: Checkpoint, arch: architecture.Architecture) -> None:
    """Raises WeightsError for tensors the graph does not use."""
    unused = UNUSED + ((graph.HEAD,) if arch.tied else ())
    unknown = [name for name in checkpoint.unread() if not name.endswith(unused)]
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise WeightsError(
            f"The weights hold {len(unknown)} tensors that a {arch.family} model does not have: "
            f"{shown}.",
            "config.json names another architecture.",
        )
