"""The number format that an engine computes in, from `dtype` of the spec, device, CPU and files;
pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet_contract.engines.features import FORMATS, kind_of
from fleet_contract.spec import Dtype, Engine, ModelSpec
from fleet_prepare.errors import CannotServe
from fleet_prepare.model_files import ModelFiles

FP8 = "fp8"


def decide(spec: ModelSpec, engine: Engine, device: str, files: ModelFiles, *, bf16: bool) -> Dtype:
    """The format that `engine` computes in on `device`; `bf16` is whether the CPU supports it.

    `auto` where that depends on the GPU or on the weights. Raises CannotServe for a format that the
    engine does not have there.
    """
    kind = kind_of(device)
    if spec.dtype is Dtype.AUTO:
        return _automatic(engine, kind, bf16)
    able = FORMATS[engine, kind]
    if spec.dtype not in able:
        raise CannotServe(
            f"{spec.model}: the {engine.value} engine does not compute in {spec.dtype.value} on "
            f"device {device}.",
            f"Use dtype {', '.join((Dtype.AUTO, *able[:-1]))} or {able[-1]}.",
        )
    if spec.dtype is Dtype.FP8 and engine is Engine.TORCH and files.config and not _is_fp8(files):
        raise CannotServe(
            f"{spec.model}: dtype is fp8, and its weights are not in fp8.", "Use dtype auto."
        )
    return spec.dtype


def _automatic(engine: Engine, kind: str, bf16: bool) -> Dtype:
    if engine is Engine.OPENVINO and kind != "cpu":
        return Dtype.FLOAT16
    if engine is Engine.CTRANSLATE2 and kind == "cpu":
        return Dtype.INT8
    if engine in (Engine.OPENVINO, Engine.TORCH, Engine.VLLM) and kind == "cpu":
        # Without instructions for it, bfloat16 has half the speed of float32 (docs/benchmarks.md).
        return Dtype.BFLOAT16 if bf16 else Dtype.FLOAT32
    return Dtype.AUTO


def _is_fp8(files: ModelFiles) -> bool:
    found: Any = files.config.get("quantization_config")
    return isinstance(found, Mapping) and found.get("quant_method") == FP8
