"""Runs a compiled encoder graph over padded batches, one at a time or in concurrent lanes."""

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
from fleet_server.engines.encoder_files.extra_inputs import Fill
from fleet_server.engines.openvino.properties import CPU, compile_properties, plugin
from fleet_server.load_error import LoadError
from fleet_server.protocols import Float32

logger = logging.getLogger(__name__)

MOST_LANES = 4
LANES_BELOW_BYTES = 256 << 20
"""Larger models have one lane: a second compiled graph copies the weights and gains little."""
KERNEL_CACHE_ENTRIES = "1000"
"""Size of OpenVINO's cache of kernels, which needs about ten entries per input shape."""
PASS_TOKENS = 512
"""Tokens of a pass, padding included, if it has several texts. OpenVINO keeps the activations of
the largest pass, 15 KB for each token of MiniLM, and larger passes are not faster
(docs/benchmarks.md)."""
WARM_ITEMS, WARM_TOKENS = 4, 16
"""Shape of the batch that warms up a lane."""


def padded_length(length: int, longest: int) -> int:
    """The length a batch is padded to: at most an eighth more, in steps of 4 or more.

    The first batch of a shape costs OpenVINO several milliseconds and half a megabyte, so lengths
    are rounded up to few distinct values.
    """
    step = max(4, 1 << max(0, length.bit_length() - 4))
    return min(longest, -(-length // step) * step)


def parts_of(batch: Sequence[Sequence[int]], length: int) -> list[Sequence[Sequence[int]]]:
    """The batch, padded to `length`, in parts of at most PASS_TOKENS tokens, or of one text."""
    rows = max(1, PASS_TOKENS // length)
    return [batch[begin : begin + rows] for begin in range(0, len(batch), rows)]


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


Ports = Sequence[tuple[str, Any]]
"""Name and numpy type of each input of a graph."""


def ports_of(compiled: Any) -> Ports:
    """The inputs of a compiled graph, in its order."""
    return [(port.get_any_name(), port.get_element_type().to_dtype()) for port in compiled.inputs]


def inputs_of(
    batch: Sequence[Sequence[int]],
    length: int,
    pad_id: int,
    fills: Mapping[str, Fill],
    ports: Ports,
) -> list[NDArray[Any]]:
    """The inputs of a graph for a batch, padded to `length`."""
    ids, mask = pad(batch, length, pad_id)
    made = {"input_ids": ids, "attention_mask": mask}
    for name, fill in fills.items():
        made[name] = fill(ids, mask)
    return [made[name].astype(kind, copy=False) for name, kind in ports]


class GraphExecutor:
    """One compiled graph with one output. Calls of `run` are serialised; each uses all threads.

    Up to `lanes` calls of `run_concurrent` run at the same time, each on its share of the threads.
    Each is slower but the total is faster, because threads that share a pass wait for each other
    at every operation, all the more while another process uses a core. Lanes are a graph compiled
    with its own copy of the weights, in the background when `run_concurrent` is first called; until
    then it is `run`. They replace the first graph, whose copy is freed: `run` then is a lane.
    `memory` is kept alive as long as the graph.
    """

    def __init__(
        self, model: ov.Model, threads: int, dtype: Dtype, pad_id: int, longest: int,
        fills: Mapping[str, Fill], *, memory: object = None, lanes: bool = False,
        device: str = "cpu", exact: bool = False,
    ) -> None:  # fmt: skip
        self._pad_id = pad_id
        self._longest = longest
        self._fills = dict(fills)
        self._memory = memory
        self._lock = threading.Lock()
        self._plugin = plugin(device)
        properties = compile_properties(dtype, threads, device, exact=exact)
        if self._plugin == CPU:
            properties |= {
                "NUM_STREAMS": "1",
                "ENABLE_CPU_PINNING": "NO",
                "CPU_RUNTIME_CACHE_CAPACITY": KERNEL_CACHE_ENTRIES,
            }
        self.precision = properties["INFERENCE_PRECISION_HINT"]
        self._model, self._properties = model, properties
        try:
            compiled = self._compiled()
        except RuntimeError as error:
            raise LoadError(f"OpenVINO cannot compile the graph: {error}") from error
        self._ports = ports_of(compiled)
        self._request: Any = compiled.create_infer_request()
        """None while lanes replace it, and after `close`."""
        self._closed = False
        small = lanes and self._plugin == CPU and weight_bytes(model) <= LANES_BELOW_BYTES
        self.most_lanes = min(MOST_LANES, threads) if small else 1
        self._free: queue.SimpleQueue[Any] | None = None
        """Idle requests of the lanes; None in it after the lanes are gone."""
        self._adding: threading.Thread | None = None
        self._adding_lock = threading.Lock()

    @property
    def lanes(self) -> int:
        """How many calls of `run_concurrent` run at the same time now."""
        return 1 if self._free is None else self.most_lanes

    def _compiled(self, streams: int = 1) -> Any:
        """The graph for so many passes at once. Raises RuntimeError."""
        properties = dict(self._properties)
        if streams > 1:
            properties["NUM_STREAMS"] = str(streams)
        return ov.Core().compile_model(self._model, self._plugin, properties)

    def _begin_adding(self) -> None:
        """Add the lanes unless they are being added, or there are none to add."""
        with self._adding_lock:
            if self._adding is None and self.most_lanes > 1 and not self._closed:
                self._adding = threading.Thread(target=self._add_lanes, name="lanes", daemon=True)
                self._adding.start()

    def _add_lanes(self) -> None:
        """Compile and warm up the lanes, then free the first graph."""
        free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        try:
            compiled = self._compiled(self.most_lanes)
            requests = [compiled.create_infer_request() for _ in range(self.most_lanes)]
            self._warm(requests)
        except RuntimeError as error:
            logger.warning("passes do not run concurrently: %s", error)
        else:
            for request in requests:
                free.put(request)
            self._free = free
            with self._lock:
                self._request = None

    def remove_lanes(self) -> None:
        """Compile the first graph again and free the lanes once their passes have ended; they are
        added again when needed."""
        with self._adding_lock:
            if self._adding is None:
                return
            self._adding.join()
            free = self._free
            if free is not None:
                try:
                    self._restore()
                except RuntimeError as error:
                    logger.warning("the graph for single passes is not compiled: %s", error)
                    return
            self._free = self._adding = None
        if free is not None:
            for _ in range(self.most_lanes):
                free.get()
            free.put(None)  # for calls that have taken the queue already

    def _restore(self) -> None:
        """Compile the first graph, unless the executor is closed. Raises RuntimeError."""
        if self._closed:
            return
        request = self._compiled().create_infer_request()
        self._warm([request])
        with self._lock:
            if not self._closed:
                self._request = request

    def _warm(self, requests: Sequence[Any]) -> None:
        inputs = self._inputs([[self._pad_id] * min(WARM_TOKENS, self._longest)] * WARM_ITEMS)
        # All at once: a request has no fixed stream, so one after another would use one stream.
        for request in requests:
            request.start_async(inputs)
        for request in requests:
            request.wait()

    def run(self, batch: Sequence[Sequence[int]]) -> Float32:
        """The graph's output for the batch, float32 `[len(batch), ...]`.

        Raises RuntimeError after `close` and when a value is not finite.
        """
        passes = [self._inputs(part) for part in self._parts(batch)]
        while True:
            with self._lock:
                if self._closed:
                    raise RuntimeError("the model is closed")
                if self._request is not None:
                    return self._infer(self._request, passes)
            found = self._in_lane(passes)
            if found is not None:
                return found

    def run_concurrent(self, batch: Sequence[Sequence[int]]) -> Float32:
        """As `run`, concurrently with other calls."""
        passes = [self._inputs(part) for part in self._parts(batch)]
        if self._free is None:
            self._begin_adding()
        found = self._in_lane(passes)
        return self.run(batch) if found is None else found

    def _in_lane(self, passes: Sequence[list[NDArray[Any]]]) -> Float32 | None:
        """The output of a lane; None if there are none."""
        free = self._free
        if free is None:
            return None
        request = free.get()
        try:
            return None if request is None else self._infer(request, passes)
        finally:
            free.put(request)

    def _parts(self, batch: Sequence[Sequence[int]]) -> list[Sequence[Sequence[int]]]:
        """On a CPU `parts_of`, on other devices the whole batch."""
        if self._plugin != CPU:
            return [batch]
        return parts_of(batch, padded_length(max(map(len, batch)), self._longest))

    def _inputs(self, batch: Sequence[Sequence[int]]) -> list[NDArray[Any]]:
        length = padded_length(max(map(len, batch)), self._longest)
        return inputs_of(batch, length, self._pad_id, self._fills, self._ports)

    def _infer(self, request: Any, passes: Sequence[list[NDArray[Any]]]) -> Float32:
        """The output of consecutive passes."""
        results: list[Float32] = []
        for inputs in passes:
            request.infer(inputs)
            result = np.array(request.get_output_tensor(0).data, dtype=np.float32)
            if not np.isfinite(result).all():
                raise RuntimeError(f"the model's output is not finite in {self.precision}")
            results.append(result)
        return np.concatenate(results)

    def close(self) -> None:
        """Wait for running passes and free the graph."""
        with self._lock:
            self._closed = True
            self._request = None
        self.remove_lanes()


def weight_bytes(model: ov.Model) -> int:
    """Total size of the constants of a graph, in bytes."""
    return sum(
        node.get_byte_size() for node in model.get_ops() if node.get_type_name() == "Constant"
    )
