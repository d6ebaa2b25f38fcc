"""FP8 checkpoints: used natively, or dequantised while they are loaded.

Format (fine-grained FP8, as DeepSeek-V3 and Qwen publish): matrices in float8_e4m3fn, and for each
`NAME.weight` of shape (N, K) a `NAME.weight_scale_inv` of shape (ceil(N/128), ceil(K/128)); a value
is multiplied by the factor of its block. The block's size is `weight_block_size` of config.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import FineGrainedFP8Config

from fleet_contract.spec import Dtype
from fleet_server.load_error import LoadError

METHOD = "fp8"
CAPABILITY = (8, 9)
"""Lowest compute capability with FP8 arithmetic (Ada, Hopper and later)."""
FACTORS = ".weight_scale_inv"


@dataclass(frozen=True, slots=True)
class Fp8Decision:
    """Whether matrices stay in FP8, and why."""

    native: bool
    reason: str


def is_fp8(config: Mapping[str, Any]) -> bool:
    """Whether config.json describes weights in this format."""
    quantization = config.get("quantization_config")
    return isinstance(quantization, Mapping) and quantization.get("quant_method") == METHOD


def decide(
    requested: Dtype,
    device: str,
    capability: tuple[int, int] | None,
    kernels_missing: Callable[[], str | None],
) -> Fp8Decision:
    """How FP8 weights are used on a device of type `device` (`cpu`, `cuda`, `mps`).

    `capability` is the compute capability of a CUDA device; `kernels_missing` returns why the FP8
    kernels cannot be used, or None. Raises LoadError if `requested` is FP8 and it is not available.
    """
    if requested not in (Dtype.AUTO, Dtype.FP8):
        return Fp8Decision(False, f"dtype is {requested.value}")
    needed = f"{CAPABILITY[0]}.{CAPABILITY[1]}"
    missing: str | None
    if device != "cuda" or capability is None:
        missing = f"device {device} does not support FP8"
    elif capability < CAPABILITY:
        found = f"{capability[0]}.{capability[1]}"
        missing = f"the GPU has compute capability {found}, and FP8 needs {needed}"
    else:
        missing = kernels_missing()
    if missing is None:
        assert capability is not None  # noqa: S101  (checked above)
        return Fp8Decision(True, f"compute capability {capability[0]}.{capability[1]}")
    if requested is Dtype.FP8:
        raise LoadError(
            f"dtype is fp8, but {missing}.",
            "Use dtype auto, which converts the weights to 16 bits where FP8 cannot be used.",
        )
    return Fp8Decision(False, missing)


def kernels_missing() -> str | None:
    """Why transformers' FP8 kernels cannot be loaded here, or None.

    They come from the `kernels` package, which reads them from the local cache of the hub.
    """
    from transformers.integrations import finegrained_fp8

    try:
        finegrained_fp8.load_finegrained_fp8_kernel()
    except Exception as error:  # loading native code can fail in many ways
        return f"the FP8 kernels cannot be loaded ({error})"
    return None


def capability_of(device: torch.device) -> tuple[int, int] | None:
    """Compute capability of a CUDA device."""
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else None


def loading(config: Mapping[str, Any], decision: Fp8Decision) -> FineGrainedFP8Config:
    """The `quantization_config` for `from_pretrained`: the checkpoint's, with the decision."""
    fields = {**config["quantization_config"], "dequantize": not decision.native}
    made: FineGrainedFP8Config = FineGrainedFP8Config.from_dict(fields)
    return made


def check_blocks(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise LoadError for a matrix whose last block is incomplete.

    transformers derives the block size from the two shapes, which is correct only for complete
    blocks (or a single block). Reads only the headers of the files.
    """
    size = config["quantization_config"].get("weight_block_size")
    if size is None:
        return
    shapes: dict[str, list[int]] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(str(path), "pt") as file:
            shapes |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    for name, blocks in sorted(shapes.items()):
        weight = f"{name.removesuffix(FACTORS)}.weight"
        if name.endswith(FACTORS) and weight in shapes:
            _check_shape(weight, shapes[weight], blocks, size)


def _check_shape(name: str, shape: list[int], blocks: list[int], size: list[int]) -> None:
    for length, count, block in zip(shape, blocks, size, strict=True):
        if length != count * block and count != 1:
            raise LoadError(
                f"{name} is {shape[0]} x {shape[1]} with {blocks[0]} x {blocks[1]} factors, which "
                f"are not whole blocks of {size[0]} x {size[1]}.",
                "Use the repository without -FP8 in its name.",
            )
