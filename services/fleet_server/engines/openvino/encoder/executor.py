"""Runs a compiled graph over a padded batch; the embedding and the rerank engine share it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from fleet_contract.spec import Dtype
from fleet_server.engines.cpu import cpu_has_bf16
from fleet_server.engines.encoder_files.extra_inputs import Fill
from fleet_server.engines.openvino.properties import compile_properties
from fleet_server.load_error import LoadError
from fleet_server.protocols import Float32

logger = logging.getLogger(__name__)

MOST_LANES = 4
LANES_BELOW_BYTES = 256 << 20
"""A larger model is compiled once: lanes keep weights of their own, and gain it little."""
SHAPES_KEPT = "1000"
"""Entries of OpenVINO's cache of prepared kernels, about ten for each shape of input seen."""


def padded_length(length: int, longest: int) -> int:
    """The length a batch is padded to: at most an eighth more, in steps of 4 or more.

    A shape seen for the first time costs OpenVINO several milliseconds and half a megabyte, so
    lengths are rounded to few.
    """
    step = max(4, 1 << max(0, length.bit_length() - 4))
    return min(longest, -(-length // step) * step)


def pad(
    batch: Sequence[Sequence[int]], length: int, pad_id: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Token ids and mask, int32 `[len(batch), length]`, padded on the right."""
    ids = np.full((len(batch), length), pad_id, dtype=np.int32)
    mask = np.zeros((len(batch), length), dtype=np.int32)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


class Executor:
    """One compiled graph with one output. Calls of `run` take turns: each uses all the threads.

    Calls of `run_concurrent` run at the same time, up to `lanes`, each on its part of the threads:
    slower for each, but together quicker, because threads that share one pass wait for each other
    at every step of it, the more so while something else uses a core. With one lane they are `run`.
    """

    def __init__(
        self, model: ov.Model, threads: int, dtype: Dtype, pad_id: int, longest: int,
        fills: Mapping[str, Fill], *, memory: object = None, lanes: bool = False,
    ) -> None:  # fmt: skip
        self._pad_id = pad_id
        self._longest = longest
        self._fills = dict(fills)
        self._memory = memory
        self._lock = threading.Lock()
        properties = compile_properties(dtype, threads, cpu_has_bf16()) | {
            "NUM_STREAMS": "1",
            "ENABLE_CPU_PINNING": "NO",
            "CPU_RUNTIME_CACHE_CAPACITY": SHAPES_KEPT,
        }
        self.precision = properties["INFERENCE_PRECISION_HINT"]
        try:
            compiled = ov.Core().compile_model(model, "CPU", properties)
        except RuntimeError as error:
            raise LoadError(f"OpenVINO cannot compile the graph: {error}") from error
        self._names = [port.get_any_name() for port in compiled.inputs]
        self._types = [port.get_element_type().to_dtype() for port in compiled.inputs]
        self._request: Any = compiled.create_infer_request()
        small = lanes and weight_bytes(model) <= LANES_BELOW_BYTES
        self.most_lanes = min(MOST_LANES, threads) if small else 1
        self.lanes = 1
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._adding = threading.Thread(
            target=self._add_lanes, args=(model, properties), name="lanes", daemon=True
        )
        if self.most_lanes > 1:
            self._adding.start()

    def _add_lanes(self, model: ov.Model, properties: dict[str, str]) -> None:
        """In the background: until then there is one lane, and a server is ready the sooner."""
        properties = properties | {"NUM_STREAMS": str(self.most_lanes)}
        try:
            compiled = ov.Core().compile_model(model, "CPU", properties)
            for _ in range(self.most_lanes):
                self._free.put(compiled.create_infer_request())
        except RuntimeError as error:
            logger.warning("passes do not run beside each other: %s", error)
        else:
            self.lanes = self.most_lanes

    def run(self, batch: Sequence[Sequence[int]]) -> Float32:
        """The graph's output for the batch, float32 `[len(batch), ...]`.

        Raises RuntimeError after `close` and when a value is not finite.
        """
        inputs = self._inputs(batch)
        with self._lock:
            return self._infer(self._request, inputs)

    def run_concurrent(self, batch: Sequence[Sequence[int]]) -> Float32:
        """As `run`, while others run."""
        if self.lanes == 1:
            return self.run(batch)
        inputs = self._inputs(batch)
        request = self._free.get()
        try:
            return self._infer(request, inputs)
        finally:
            self._free.put(request)

    def _inputs(self, batch: Sequence[Sequence[int]]) -> list[NDArray[Any]]:
        length = padded_length(max(map(len, batch)), self._longest)
        ids, mask = pad(batch, length, self._pad_id)
        made = {"input_ids": ids, "attention_mask": mask}
        for name, fill in self._fills.items():
            made[name] = fill(ids, mask)
        return [
            made[name].astype(kind, copy=False)
            for name, kind in zip(self._names, self._types, strict=True)
        ]

    def _infer(self, request: Any, inputs: list[NDArray[Any]]) -> Float32:
        if request is None:
            raise RuntimeError("the model is closed")
        request.infer(inputs)
        result = np.array(request.get_output_tensor(0).data, dtype=np.float32)
        if not np.isfinite(result).all():
            raise RuntimeError(f"the model gave values that are not finite in {self.precision}")
        return result

    def close(self) -> None:
        """Free the graph once running passes are done."""
        with self._lock:
            self._request = None
        if self.most_lanes == 1:
            return
        self._adding.join()
        if self.lanes > 1:
            for _ in range(self.lanes):
                self._free.get()
            for _ in range(self.lanes):
                self._free.put(None)


def weight_bytes(model: ov.Model) -> int:
    """Bytes of the constants of a graph."""
    return sum(
        node.get_byte_size() for node in model.get_ops() if node.get_type_name() == "Constant"
    )
