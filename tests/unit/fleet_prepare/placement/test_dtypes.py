"""The number format of each engine and device, and refusals before anything is downloaded."""

from __future__ import annotations

import pytest

from fleet_contract.engines.features import FORMATS
from fleet_contract.spec import Dtype, Engine, ModelSpec
from fleet_prepare.choose import FACTORIES
from fleet_prepare.errors import CannotServe
from fleet_prepare.model_files import ModelFiles
from fleet_prepare.placement.dtypes import decide

NONE = ModelFiles(frozenset(), on_disk=False)
PLAIN = ModelFiles(frozenset({"model.safetensors"}), {"config.json": {"model_type": "llama"}})
FP8 = ModelFiles(
    frozenset({"model.safetensors"}),
    {"config.json": {"quantization_config": {"quant_method": "fp8"}}},
)


def decided(
    dtype: str, engine: Engine, device: str, files: ModelFiles = NONE, *, bf16: bool = True
) -> Dtype:
    spec = ModelSpec.model_validate({"model": "org/m", "dtype": dtype})
    return decide(spec, engine, device, files, bf16=bf16)


@pytest.mark.parametrize(
    ("engine", "device", "with_bf16", "without"),
    [
        (Engine.OPENVINO, "cpu", Dtype.BFLOAT16, Dtype.FLOAT32),
        (Engine.OPENVINO, "gpu:1", Dtype.FLOAT16, Dtype.FLOAT16),
        (Engine.OPENVINO, "npu", Dtype.FLOAT16, Dtype.FLOAT16),
        (Engine.CTRANSLATE2, "cpu", Dtype.INT8, Dtype.INT8),
        (Engine.TORCH, "cpu", Dtype.BFLOAT16, Dtype.FLOAT32),
        (Engine.VLLM, "cpu", Dtype.BFLOAT16, Dtype.FLOAT32),
        # These depend on the GPU and on the weights.
        (Engine.CTRANSLATE2, "cuda:1", Dtype.AUTO, Dtype.AUTO),
        (Engine.TORCH, "cuda", Dtype.AUTO, Dtype.AUTO),
        (Engine.TORCH, "mps", Dtype.AUTO, Dtype.AUTO),
        (Engine.VLLM, "cuda", Dtype.AUTO, Dtype.AUTO),
        (Engine.LLAMACPP, "cpu", Dtype.AUTO, Dtype.AUTO),
        (Engine.LLAMACPP, "cuda", Dtype.AUTO, Dtype.AUTO),
    ],
)
def test_what_auto_becomes(
    engine: Engine, device: str, with_bf16: Dtype, without: Dtype
) -> None:  # fmt: skip
    assert decided("auto", engine, device, bf16=True) is with_bf16
    assert decided("auto", engine, device, bf16=False) is without


@pytest.mark.parametrize(("engine", "kind"), FORMATS)
def test_a_named_format_is_kept_or_refused(engine: Engine, kind: str) -> None:
    for dtype in set(Dtype) - {Dtype.AUTO}:
        if dtype in FORMATS[engine, kind]:
            # Nothing but named formats, so also where the CPU has no instructions for it.
            assert decided(dtype, engine, kind, FP8, bf16=False) is dtype
            continue
        words = f"org/m: the {engine.value} engine does not compute in {dtype.value} on device"
        with pytest.raises(CannotServe, match=words) as refused:
            decided(dtype, engine, kind, FP8)
        for offered in ("auto", *FORMATS[engine, kind]):
            assert str(offered) in str(refused.value.hint)


def test_every_engine_has_formats() -> None:
    assert {engine for engine, _ in FORMATS} == {engine for engine, _ in FACTORIES}


def test_torch_computes_in_fp8_with_weights_in_fp8_only() -> None:
    assert decided("fp8", Engine.TORCH, "cuda", FP8) is Dtype.FP8
    assert decided("fp8", Engine.TORCH, "cuda", NONE) is Dtype.FP8  # nothing is known yet
    assert decided("fp8", Engine.VLLM, "cuda", PLAIN) is Dtype.FP8  # vLLM converts them
    with pytest.raises(CannotServe, match="weights are not in fp8"):
        decided("fp8", Engine.TORCH, "cuda", PLAIN)
