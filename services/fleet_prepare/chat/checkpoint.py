"""Reads a decoder's weights as float32 rows from any supported number format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleet_prepare.number_formats import Float32
from fleet_prepare.safetensors_file import Tensors
from fleet_weights.errors import WeightsError

CHUNK_BYTES = 32 << 20
"""Of float32 rows held at once, at least one row."""
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
SCALE = "_scale_inv"


class Checkpoint:
    """Tensors of one repository by transformers' names; records which were read.

    `block` holds the rows and columns of an fp8 weight that share one entry of
    `<name>_scale_inv`, by which the weight is multiplied (the format of DeepSeek-V3 and of Qwen's
    FP8 repositories). `progress` takes bytes read so far and in all; `check` is called before each
    tensor and each chunk.
    """

    def __init__(
        self,
        tensors: Tensors,
        block: tuple[int, int] | None,
        progress: Callable[[int, int | None], None],
        check: Callable[[], None],
    ) -> None:
        self._tensors = tensors
        self._block = block
        self._progress = progress
        self._check = check
        self._done = 0
        self._total = tensors.total_bytes
        self._read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def stored(self, name: str) -> str:
        """The number format a weight is stored in; F32 for scaled 8-bit floats."""
        dtype = self._tensors.dtype(name)
        return dtype if dtype in FLOATS else "F32"

    def vector(self, name: str, size: int) -> Float32:
        """Raises WeightsError if the tensor is missing or has another shape, like every method."""
        self._expect(name, (size,))
        values = self._tensors.read(name)
        self._count(name)
        return values

    def raw(self, name: str, shape: tuple[int, int]) -> Iterator[NDArray[Any]]:
        """The tensor as stored in F32, F16 or BF16 (as uint16), whole."""
        self._expect(name, shape)
        yield self._tensors.read_raw(name)[1]
        self._count(name)

    def rows(self, name: str, shape: tuple[int, int]) -> Iterator[Float32]:
        """Float32 chunks of whole rows, in order."""
        self._expect(name, shape)
        scale = self._scale(name, shape)
        step = max(1, CHUNK_BYTES // (4 * shape[1]))
        for start in range(0, shape[0], step):
            self._check()
            stop = min(start + step, shape[0])
            chunk = self._tensors.read_rows(name, start, stop)
            if scale is not None:
                assert self._block is not None  # noqa: S101  (a scale is read with a block only)
                rows, columns = self._block
                spread = scale[np.arange(start, stop) // rows]
                chunk *= np.repeat(spread, columns, axis=1)[:, : shape[1]]
            if not np.isfinite(chunk).all():
                raise WeightsError(f"{self._tensors.path(name)}: {name!r} holds NaN or infinity.")
            yield chunk
        self._count(name)

    def picked(self, name: str, shape: tuple[int, int], rows: Sequence[int]) -> Float32:
        """The given rows as float32, in the given order; does not count as reading the tensor."""
        self._expect(name, shape)
        if self._tensors.dtype(name) not in FLOATS:
            raise WeightsError(
                f"{self._tensors.path(name)}: {name!r} is stored as {self._tensors.dtype(name)}."
            )
        return np.concatenate([self._tensors.read_rows(name, row, row + 1) for row in rows])

    def unread(self) -> list[str]:
        """Names of tensors that were not read, sorted."""
        return sorted(set(self._tensors.names) - self._read)

    def _scale(self, name: str, shape: tuple[int, int]) -> Float32 | None:
        if self._tensors.dtype(name) in FLOATS:
            return None
        if self._block is None or self._tensors.dtype(name) != "F8_E4M3":
            raise WeightsError(
                f"{self._tensors.path(name)}: {name!r} is stored as {self._tensors.dtype(name)}, "
                "which config.json does not announce.",
            )
        rows, columns = (-(-size // block) for size, block in zip(shape, self._block, strict=True))
        self._expect(name + SCALE, (rows, columns))
        scale = self._tensors.read(name + SCALE)
        self._count(name + SCALE)
        return scale

    def _expect(self, name: str, shape: tuple[int, ...]) -> None:
        self._check()
        found = self._tensors.shape(name)
        if found != shape:
            raise WeightsError(
                f"{self._tensors.path(name)}: {name!r} has shape {list(found)}; config.json "
                f"implies {list(shape)}."
            )

    def _count(self, name: str) -> None:
        if name in self._read:
            return  # calibration reads weights before they are converted
        self._read.add(name)
        self._done += self._tensors.bytes(name)
        self._progress(self._done, self._total)
