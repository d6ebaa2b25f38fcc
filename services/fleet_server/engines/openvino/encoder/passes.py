"""Runs a compiled graph over a padded batch; the embedding and the rerank engine share it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from fleet_contract.spec import Dtype
from fleet_server.engines.cpu import cpu_has_bf16
from fleet_server.engines.encoder_files.fills import Fill
from fleet_server.engines.openvino.properties import compile_properties
from fleet_server.load_error import LoadError
from fleet_server.protocols import Float32

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


class Passes:
    """One compiled graph with one output. Calls take turns: each uses all the threads."""

    def __init__(
        self, model: ov.Model, threads: int, dtype: Dtype, pad_id: int, longest: int,
        fills: Mapping[str, Fill],
    ) -> None:  # fmt: skip
        self._pad_id = pad_id
        self._longest = longest
        self._fills = dict(fills)
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

    def run(self, batch: Sequence[Sequence[int]]) -> Float32:
        """The graph's output for the batch, float32 `[len(batch), ...]`.

        Raises RuntimeError after `close` and when a value is not finite.
        """
        length = padded_length(max(map(len, batch)), self._longest)
        ids, mask = pad(batch, length, self._pad_id)
        made = {"input_ids": ids, "attention_mask": mask}
        for name, fill in self._fills.items():
            made[name] = fill(ids, mask)
        inputs = [
            made[name].astype(kind, copy=False)
            for name, kind in zip(self._names, self._types, strict=True)
        ]
        with self._lock:
            if self._request is None:
                raise RuntimeError("the model is closed")
            self._request.infer(inputs)
            result = np.array(self._request.get_output_tensor(0).data, dtype=np.float32)
        if not np.isfinite(result).all():
            raise RuntimeError(f"the model gave values that are not finite in {self.precision}")
        return result

    def close(self) -> None:
        """Free the graph once a running pass is done."""
        with self._lock:
            self._request = None
