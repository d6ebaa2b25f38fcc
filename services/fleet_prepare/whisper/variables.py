"""CTranslate2 variables that are read and quantised when they are written.

CTranslate2 holds a whole model in memory while it converts. These know their shapes from the
headers of the safetensors files, so at most one variable and one block of float32 exist at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ctranslate2.specs import common_spec, model_spec
from numpy.typing import NDArray

from fleet_prepare.number_formats import Float32
from fleet_prepare.safetensors_file import Tensors
from fleet_weights.errors import WeightsError

BLOCK = 1 << 22
"""Numbers converted at once, 16 MiB in float32."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Tensors joined along their first dimension; a number is that many rows of zeros.

    `read` is called once a tensor has been read, with its length in bytes.
    """

    tensors: Tensors
    parts: tuple[str | int, ...]
    shape: tuple[int, ...]
    read: Callable[[int], None]

    def blocks(self) -> Iterator[tuple[int, Float32]]:
        """(first row, rows) in order. Raises WeightsError for numbers that are not finite."""
        row = 0
        for part in self.parts:
            if isinstance(part, int):
                yield row, np.zeros((part, *self.shape[1:]), np.float32)
                row += part
                continue
            rows, *rest = self.tensors.shape(part)
            step = max(1, BLOCK // max(1, int(np.prod(rest))))
            for start in range(0, rows, step):
                block = self.tensors.read_rows(part, start, min(start + step, rows))
                if not np.isfinite(block).all():
                    raise WeightsError(
                        f"{self.tensors.path(part)}: tensor {part!r} holds NaN or infinity."
                    )
                yield row + start, block
            row += rows
            self.read(self.tensors.bytes(part))


class Lazy(model_spec.Variable):  # type: ignore[misc]
    """A CTranslate2 variable that is computed on demand."""

    def __init__(self, stack: Stack, dtype: str) -> None:
        self._stack = stack
        self._dtype = dtype

    @property
    def shape(self) -> list[int]:
        return list(self._stack.shape)

    @property
    def dtype(self) -> str:
        return self._dtype

    def num_bytes(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self._dtype).itemsize

    def to_bytes(self) -> bytes:
        return self.numpy().tobytes()

    @abstractmethod
    def numpy(self) -> NDArray[Any]:
        """The values, read and converted now."""

    def _to(self, dtype: str) -> model_spec.Variable:
        raise NotImplementedError("the number format is chosen when the variable is made")

    def _equal(self, other: Lazy) -> bool:
        return self._stack.parts == other._stack.parts and self._dtype == other._dtype


class Plain(Lazy):
    """Numbers in float32 or float16."""

    def numpy(self) -> NDArray[Any]:
        array = np.empty(self.shape, self._dtype)
        with np.errstate(over="ignore"):
            for row, block in self._stack.blocks():
                array[row : row + len(block)] = block
        if self._dtype == "float16" and not np.isfinite(array).all():
            names = " and ".join(repr(part) for part in self._stack.parts if isinstance(part, str))
            raise WeightsError(
                f"Tensor {names} holds a number beyond the range of float16.",
                "Convert to float32 or int8.",
            )
        return array


class Quantized(Lazy):
    """int8 with one scale a row, by CTranslate2's own rounding."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack, "int8")
        self.scales: Float32 | None = None
        """Known once the numbers have been computed."""

    def numpy(self) -> NDArray[Any]:
        array = np.empty(self.shape, np.int8)
        scales = np.empty(self.shape[0], np.float32)
        for row, block in self._stack.blocks():
            linear = common_spec.LinearSpec()
            linear.weight = block.reshape(len(block), -1)
            linear.validate()
            linear.optimize("int8")
            array[row : row + len(block)] = linear.weight.numpy().reshape(block.shape)
            scales[row : row + len(block)] = linear.weight_scale.numpy()
        self.scales = scales
        return array


class Scales(Lazy):
    """The scales of a quantised variable, which CTranslate2 writes just before them."""

    def __init__(self, quantized: Quantized) -> None:
        super().__init__(quantized._stack, "float32")
        self._quantized = quantized

    @property
    def shape(self) -> list[int]:
        return self._quantized.shape[:1]

    def numpy(self) -> NDArray[Any]:
        if self._quantized.scales is None:
            raise RuntimeError("the scales of a variable are written before its numbers")
        return self._quantized.scales
