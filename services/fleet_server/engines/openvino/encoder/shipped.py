"""Loads a graph, OpenVINO IR or ONNX, that a repository ships."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import openvino as ov

from fleet_contract.spec import Pooling
from fleet_server.engines.encoder_files.extra_inputs import Fill
from fleet_server.engines.encoder_files.recipe import Recipe
from fleet_server.engines.openvino.encoder.head import apply_dense, pool
from fleet_server.engines.openvino.encoder.nodes import Node
from fleet_server.load_error import LoadError
from fleet_weights.errors import WeightsError
from fleet_weights.hub.onnx_data import external_files

REQUIRED = ("input_ids", "attention_mask")
SENTENCE = ("sentence_embedding", "pooler_output_normalized")
TOKENS = ("last_hidden_state", "token_embeddings")


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph with its inputs and outputs by name."""

    inputs: dict[str, Node]
    outputs: dict[str, Node]
    path: Path

    def with_output(self, node: Node) -> ov.Model:
        """The graph up to `node` as its only output."""
        return ov.Model([node], list(self.inputs.values()), "encoder")


def read(path: Path, fills: Mapping[str, Fill]) -> Graph:
    """Read the graph. Raises LoadError if it cannot be read, a file of tensors is missing, or it
    has unknown inputs."""
    if path.suffix == ".onnx":
        _check_external_files(path)
    try:
        model = ov.Core().read_model(path)
    except RuntimeError as error:
        raise LoadError(f"OpenVINO cannot read {path}: {error}") from error
    inputs = {node.output(0).get_any_name(): node for node in model.get_parameters()}
    missing = [name for name in REQUIRED if name not in inputs]
    unknown = [name for name in inputs if name not in REQUIRED and name not in fills]
    if missing or unknown:
        raise LoadError(
            f"{path.name} has the inputs {', '.join(inputs)}; supported are {', '.join(REQUIRED)} "
            f"and optionally {', '.join(fills)}.",
            "Serve the model with `engine: torch`.",
        )
    outputs = {
        name: result.input_value(0)
        for result in model.get_results()
        for name in (result.input_value(0).get_names() or result.output(0).get_names())
    }
    return Graph(inputs, outputs, path)


def _check_external_files(path: Path) -> None:
    """Check the paths in the graph: OpenVINO reads any path, and does not name a missing file."""
    try:
        names = external_files(path)
    except WeightsError as error:
        raise LoadError(error.message, error.hint) from error
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise LoadError(
            f"{path.name} stores tensors in {', '.join(missing[:3])}, which "
            f"{'is' if len(missing) == 1 else 'are'} not in {path.parent}.",
            "Fetch the model again with `modelfleet pull`, or copy the files next to the graph.",
        )


def embedding(graph: Graph, recipe: Recipe, requested: Pooling) -> ov.Model:
    """`[batch, dimensions]`: the graph's sentence vectors, or its pooled token vectors.

    A sentence output includes the repository's modules after pooling, so it is preferred unless the
    spec sets the pooling. Raises LoadError.
    """
    ready = _first(graph, SENTENCE, rank=2) if requested is Pooling.AUTO else None
    if ready is not None:
        return graph.with_output(ready)
    tokens = _first(graph, TOKENS, rank=3) or _first(graph, tuple(graph.outputs), rank=3)
    if tokens is None:
        raise LoadError(
            f"{graph.path.name} has outputs {', '.join(graph.outputs)}; none are token vectors."
        )
    pooling = (recipe.pooling or Pooling.MEAN) if requested is Pooling.AUTO else requested
    pooled = pool(tokens, graph.inputs["attention_mask"], pooling)
    return graph.with_output(apply_dense(pooled, recipe.dense))


def relevance(graph: Graph) -> ov.Model:
    """`[batch, 1]`, the logit of a cross-encoder. Raises LoadError."""
    logits = _first(graph, ("logits",), rank=2)
    if logits is None:
        raise LoadError(f"{graph.path.name} has no output `logits`, so it cannot rerank.")
    width = logits.get_partial_shape()[1]
    if width.is_static and width.get_length() != 1:
        raise LoadError(f"Reranking needs one logit; {graph.path.name} has {width}.")
    return graph.with_output(logits)


def _first(graph: Graph, names: tuple[str, ...], rank: int) -> Node | None:
    for name in names:
        node = graph.outputs.get(name)
        if node is None:
            continue
        shape = node.get_partial_shape()
        if shape.rank.is_dynamic or shape.rank.get_length() == rank:
            return node
    return None
