"""Reads safetensors files as memory-mapped arrays.

Format: huggingface.co/docs/safetensors (eight bytes of header length, a JSON header, raw data).
The safetensors package is not used because it cannot return bfloat16 as NumPy arrays, and because a
mapped float32 tensor needs no copy.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_server.load_error import LoadError
from fleet_server.protocols import Float32

STORED: dict[str, Any] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("bool"),
}
MAX_HEADER_BYTES = 100_000_000
RENAMED = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
"""Names in checkpoints from before 2019, which transformers renames too."""


class EncoderTensors:
    """Tensors of one model by name; records which were used."""

    def __init__(self, arrays: Mapping[str, tuple[str, NDArray[Any]]]) -> None:
        self._arrays = dict(arrays)
        self._taken: set[str] = set()

    @classmethod
    def open(cls, paths: Iterable[Path]) -> EncoderTensors:
        """Map the files. Raises LoadError naming a file that is not complete safetensors."""
        arrays: dict[str, tuple[str, NDArray[Any]]] = {}
        for path in paths:
            arrays |= _map(path)
        return cls(arrays)

    def names(self) -> list[str]:
        return list(self._arrays)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises LoadError if there is no such tensor."""
        return self._find(name)[1].shape

    def take(self, name: str, shape: tuple[int, ...]) -> Float32:
        """The tensor as float32. Raises LoadError if it is missing or of another shape."""
        stored, array = self.take_stored(name, shape)
        if stored == "BF16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        return np.asarray(array, dtype=np.float32)

    def take_stored(self, name: str, shape: tuple[int, ...]) -> tuple[str, NDArray[Any]]:
        """The safetensors dtype and the array as stored, BF16 as uint16.

        Raises LoadError if it is missing or of another shape.
        """
        stored, array = self._find(name)
        if array.shape != shape:
            raise LoadError(
                f"Tensor {name!r} has shape {list(array.shape)}; config.json implies {list(shape)}."
            )
        self._taken.add(name)
        return stored, array

    def left(self) -> list[str]:
        """Names of unused tensors, sorted."""
        return sorted(set(self._arrays) - self._taken)

    def _find(self, name: str) -> tuple[str, NDArray[Any]]:
        found = self._arrays.get(name)
        if found is None:
            raise LoadError(
                f"The weights have no tensor {name!r}.",
                "They are incomplete, or their architecture differs from config.json.",
            )
        return found


def _map(path: Path) -> dict[str, tuple[str, NDArray[Any]]]:
    try:
        header, start = _header(path)
        # Copy-on-write, because OpenVINO shares only writeable memory; nothing is written.
        raw = np.memmap(path, dtype=np.uint8, mode="c", offset=start)
        return {
            _current(name): (entry["dtype"], _array(raw, entry))
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise LoadError(
            f"{path} is not a complete safetensors file: {error}.",
            "Fetch the model again with `modelfleet pull`.",
        ) from error


def _header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    return header, 8 + length


def _array(raw: NDArray[np.uint8], entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype = STORED.get(entry["dtype"])
    if dtype is None:
        raise ValueError(f"dtype {entry['dtype']} is not supported")
    begin, end = entry["data_offsets"]
    if not 0 <= begin <= end <= raw.size:
        raise ValueError(f"a tensor ends at byte {end} of {raw.size}")
    array: NDArray[Any] = raw[begin:end].view(dtype).reshape(entry["shape"])
    return array


def _current(name: str) -> str:
    for old, new in RENAMED:
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name
