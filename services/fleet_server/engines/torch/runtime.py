"""Selects torch's device and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.load_error import LoadError

NAMED: dict[Dtype, torch.dtype] = {
    Dtype.FLOAT32: torch.float32,
    Dtype.BFLOAT16: torch.bfloat16,
    Dtype.FLOAT16: torch.float16,
}
HALVES = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The device, and the dtype of weights and activations."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def start(
        cls, spec: ModelSpec, threads: int, stored: str | None, *, float16: bool = True,
        dtype: Dtype | None = None,
    ) -> Runtime:  # fmt: skip
        """Set torch's threads and select; `stored` is the weights' dtype in config.json, `dtype`
        the format to compute in, by default that of the spec.

        `float16` is False for a model whose activations exceed the range of float16, which `auto`
        then avoids. Raises LoadError if the device does not exist.
        """
        torch.set_num_threads(threads)
        device = find_device(spec.device)
        half = _half(device)
        if half is torch.float16 and not float16:
            half = torch.float32
        return cls(device, choose_dtype(dtype or spec.dtype, device.type, stored, half))

    def free_memory(self) -> None:
        """Return cached blocks to the device, after an allocation failed."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, rather than the computation."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "allocate memory" in text or "out of memory" in text
    )


def find_device(name: str) -> torch.device:
    """The device called `name` (`auto`, `cpu`, `mps`, `cuda`, `cuda:N`). Raises LoadError."""
    kind, _, index = name.partition(":")
    if kind == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda":
        number = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= number:
            raise LoadError(
                f"device is {name}; torch sees {number} CUDA devices.",
                "Check the driver with nvidia-smi, and that torch is a CUDA build.",
            )
        return torch.device("cuda", int(index or 0))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise LoadError("device is mps; torch sees no Apple GPU.", "Use device cpu.")
    return torch.device(kind)


def choose_dtype(
    requested: Dtype, device: str, stored: str | None, half: torch.dtype
) -> torch.dtype:
    """The dtype to compute in.

    On a GPU `auto` keeps the dtype of 16-bit weights. Weights stored in 32 bits, and all models on
    a CPU, use `half`: the device's fast 16-bit dtype, or float32 on a CPU, whose format the choice
    of the engine decides.
    """
    if requested in NAMED:
        return NAMED[requested]
    kept = getattr(torch, stored or "", None)
    return kept if device != "cpu" and kept in HALVES else half


def _half(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def tensor(values: Any, device: torch.device) -> torch.Tensor:
    """Integers as an int64 tensor on the device."""
    return torch.tensor(values, dtype=torch.long, device=device)
