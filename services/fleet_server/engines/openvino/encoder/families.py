"""Selects the graph builder of an encoder by its `model_type`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_prepare.encoder import graph_refusal
from fleet_server.engines.openvino.encoder import architecture, gemma3, graph, modernbert, nomic
from fleet_server.engines.openvino.encoder.head import classify
from fleet_server.engines.openvino.encoder.nodes import Node
from fleet_server.engines.openvino.encoder.parts import Encoder
from fleet_server.engines.openvino.encoder.tensors import EncoderTensors
from fleet_server.load_error import LoadError


def build(config: Mapping[str, Any], tensors: EncoderTensors) -> Encoder:
    """The encoder of single texts, with token types of 0.

    Raises LoadError naming what is unsupported, missing or of another shape.
    """
    return _build(config, tensors, with_types=False)


def build_scorer(
    config: Mapping[str, Any], tensors: EncoderTensors, *, with_types: bool
) -> tuple[Encoder, Node]:
    """A cross-encoder and its logit, `[batch, 1]`; `with_types` adds an input for token types if
    the model has several. Raises LoadError."""
    encoder = _build(config, tensors, with_types=with_types)
    match config["model_type"]:
        case "modernbert":
            shape = modernbert.ModernBert.read(config)
            return encoder, modernbert.Builder(shape, tensors).classify(encoder, config)
        case "gemma3_text" | "nomic_bert" as family:
            raise LoadError(
                f"{family} cross-encoders are not supported.", "Serve it with `task: embedding`."
            )
        case _:
            return encoder, classify(architecture.read(config), tensors, encoder)


def _build(config: Mapping[str, Any], tensors: EncoderTensors, *, with_types: bool) -> Encoder:
    if (reason := graph_refusal(config)) is not None:
        raise LoadError(
            f"No encoder graph can be built: {reason}.", "The torch engine serves other encoders."
        )
    match config["model_type"]:
        case "gemma3_text":
            return gemma3.Builder(gemma3.Gemma3.read(config), tensors).build()
        case "modernbert":
            return modernbert.Builder(modernbert.ModernBert.read(config), tensors).build()
        case "nomic_bert":
            return nomic.Builder(nomic.Nomic.read(config), tensors).build(with_types=with_types)
        case _:
            arch = architecture.read(config)
            types = with_types and arch.type_vocab > 1
            return graph.build(arch, tensors, with_types=types)
