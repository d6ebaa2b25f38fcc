"""The memory that one server of a model takes: measured if it has run here, else estimated.

Measured values are kept in a JSON file, so that the next fleet in this folder need not estimate:
`{"<model> <engine> <device> <bytes of the cache> <folder of the weights>": bytes}`.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from fleet_contract.spec import Dtype, Engine, ModelSpec, Task
from fleet_contract.spec_parts import MIB
from fleet_prepare.prepare import PreparedModel
from fleet_weights.hub.selection import WeightsFormat
from fleet_weights.plan import needs_none

FILE_BYTES = 1 << 20
SUFFIXES = {
    WeightsFormat.SAFETENSORS: (".safetensors",),
    WeightsFormat.CTRANSLATE2: (".bin",),
    WeightsFormat.OPENVINO: (".bin",),
    WeightsFormat.ONNX: (".onnx", ".onnx_data", ".data"),
    WeightsFormat.GGUF: (".gguf",),
}
OTHERS = tuple(dict.fromkeys(suffix for known in SUFFIXES.values() for suffix in known))
CHAT_CACHE = 256 * MIB
"""What the key/value cache of a small model takes by default (docs/benchmarks.md)."""
WHOLE_CACHE = (Engine.LLAMACPP, Engine.VLLM)
"""Engines that allocate the cache as a whole at the start: SmolLM2 (llamacpp, 94 MiB) had 1,266
MiB when ready."""
ON_A_DEVICE = 1536 * MIB
"""Main memory of a server whose weights are in the memory of a GPU or NPU."""


@dataclass(frozen=True, slots=True)
class Share:
    """Memory of an engine: `base` bytes, and a multiple of the bytes of the weights."""

    base: int
    factor: float


ENGINES = {
    Engine.OPENVINO: Share(150 * MIB, 1.3),
    Engine.CTRANSLATE2: Share(200 * MIB, 1.5),
    Engine.LLAMACPP: Share(150 * MIB, 1.2),
    Engine.TORCH: Share(600 * MIB, 1.4),
    Engine.VLLM: Share(2200 * MIB, 1.4),
}
"""SmolLM2 (openvino, 86 MiB) was measured with 370 MiB when ready and 584 after 100 chats, MiniLM
(openvino, 87 MiB) with 204 and 397; these give 518 and 324."""
VLLM_IN_FLOAT32 = Share(2200 * MIB, 2.8)
"""Twice the size of most files: SmolLM2 (257 MiB) had 4,534 MiB with a cache of 1.5 GiB, which it
took as a whole, and Llama-3.2-1B with four layers (1,540 MiB) 7,894."""
OF_A_HANDLER = Share(200 * MIB, 1.4)
SECOND_GRAPH = 0.7
"""Share of an encoder's weights that its graph for concurrent passes takes, beside the first one
until it has replaced it."""


class Sizes:
    """Sizes of servers, in bytes; `path` is the file of measured ones."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._measured = _read(path)

    def of(self, spec: ModelSpec, prepared: PreparedModel) -> int:
        """What one server of `spec` takes."""
        known = self._measured.get(_key(spec, prepared))
        return estimate(spec, prepared) if known is None else known

    def note(self, spec: ModelSpec, prepared: PreparedModel, measured: int) -> None:
        """Keep what a server took; an error of writing is no error of the fleet."""
        key = _key(spec, prepared)
        if self._measured.get(key) == measured:
            return
        self._measured[key] = measured
        new = self._path.with_name(self._path.name + ".new")
        with contextlib.suppress(OSError):
            new.write_text(json.dumps(self._measured, indent=1))
            os.replace(new, self._path)


def estimate(spec: ModelSpec, prepared: PreparedModel) -> int:
    """Bytes that a server will take, from its engine and the size of the weights."""
    choice = prepared.choice
    weights = 0 if needs_none(spec) else _weights(prepared.folder, choice.kind)
    if choice.device.partition(":")[0] in ("cuda", "gpu", "npu"):
        return ON_A_DEVICE
    share = ENGINES.get(choice.engine, OF_A_HANDLER)
    if choice.engine is Engine.VLLM and choice.dtype is Dtype.FLOAT32:
        share = VLLM_IN_FLOAT32
    size = share.base + share.factor * weights
    if spec.task in (Task.EMBEDDING, Task.RERANK):
        size += SECOND_GRAPH * weights
    elif spec.task is Task.CHAT and choice.engine is not Engine.CUSTOM:
        whole = spec.cache.kv_gib is not None or choice.engine in WHOLE_CACHE
        size += spec.cache.kv_bytes if whole else min(CHAT_CACHE, spec.cache.kv_bytes)
    return int(size)


def _weights(place: Path, kind: WeightsFormat | None) -> int:
    """Bytes of the files of `kind` in a folder, of all formats if None, or of one file."""
    if place.is_file():
        return place.stat().st_size
    sizes = [(path, path.stat().st_size) for path in place.rglob("*") if path.is_file()]
    suffixes = OTHERS if kind is None else SUFFIXES[kind]
    own = sum(size for path, size in sizes if path.name.endswith(suffixes))
    return own or sum(size for path, size in sizes if path.name.endswith(OTHERS))


def _key(spec: ModelSpec, prepared: PreparedModel) -> str:
    choice = prepared.choice
    parts = (spec.model, choice.engine.value, choice.device, spec.cache.kv_bytes)
    return " ".join(map(str, (*parts, prepared.folder.name)))


def _read(path: Path) -> dict[str, int]:
    try:
        if path.stat().st_size > FILE_BYTES:
            return {}
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: size for name, size in found.items() if isinstance(size, int) and size > 0}
