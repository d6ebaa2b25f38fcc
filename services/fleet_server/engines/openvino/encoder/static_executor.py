"""Runs an encoder graph on a device that needs shapes known when the graph is compiled."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openvino as ov

from fleet_server.engines.encoder_files.extra_inputs import Fill
from fleet_server.engines.openvino.encoder.executor import Ports, inputs_of, ports_of
from fleet_server.load_error import LoadError
from fleet_server.protocols import Float32

SHORTEST = 64
"""Tokens of the smallest compiled graph; each further one has twice as many."""


class StaticExecutor:
    """As `executor.Executor`, with one graph for each of a few lengths and one input in a pass.

    A graph is compiled at the first input of its length, which takes seconds on an NPU.
    """

    lanes = 1
    most_lanes = 1

    def __init__(
        self, model: ov.Model, plugin: str, properties: Mapping[str, str], pad_id: int,
        longest: int, fills: Mapping[str, Fill], *, memory: object = None,
    ) -> None:  # fmt: skip
        self.precision = properties["INFERENCE_PRECISION_HINT"]
        self._model: ov.Model | None = model
        self._plugin = plugin
        self._properties = dict(properties)
        self._pad_id = pad_id
        self._longest = longest
        self._fills = dict(fills)
        self._memory = memory
        self._lock = threading.Lock()
        self._requests: dict[int, tuple[Any, Ports]] = {}
        try:
            self._request(graph_length(1, longest))
        except RuntimeError as error:
            raise LoadError(f"OpenVINO cannot compile the graph: {error}") from error

    def run(self, batch: Sequence[Sequence[int]]) -> Float32:
        """The graph's output for the batch, float32 `[len(batch), ...]`.

        Raises RuntimeError after `close` and when a value is not finite.
        """
        with self._lock:
            return np.concatenate([self._one(tokens) for tokens in batch])

    def run_concurrent(self, batch: Sequence[Sequence[int]]) -> Float32:
        """As `run`."""
        return self.run(batch)

    def close(self) -> None:
        """Wait for a running pass and free the graphs."""
        with self._lock:
            self._model = None
            self._requests.clear()

    def _one(self, tokens: Sequence[int]) -> Float32:
        length = graph_length(len(tokens), self._longest)
        request, ports = self._request(length)
        request.infer(inputs_of([tokens], length, self._pad_id, self._fills, ports))
        result = np.array(request.get_output_tensor(0).data, dtype=np.float32)
        if not np.isfinite(result).all():
            raise RuntimeError(f"the model's output is not finite in {self.precision}")
        return result

    def _request(self, length: int) -> tuple[Any, Ports]:
        if self._model is None:
            raise RuntimeError("the model is closed")
        if length not in self._requests:
            fixed = self._model.clone()
            fixed.reshape({port.get_any_name(): [1, length] for port in fixed.inputs})
            compiled = ov.Core().compile_model(fixed, self._plugin, self._properties)
            self._requests[length] = (compiled.create_infer_request(), ports_of(compiled))
        return self._requests[length]


def graph_length(tokens: int, longest: int) -> int:
    """Tokens of the graph that runs an input of `tokens` tokens."""
    length = SHORTEST
    while length < tokens:
        length *= 2
    return min(length, longest)
