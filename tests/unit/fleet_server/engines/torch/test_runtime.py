"""The number format torch computes in."""

from __future__ import annotations

import pytest
import torch

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.torch import runtime
from fleet_server.engines.torch.runtime import Runtime, choose_dtype

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


@pytest.mark.parametrize(
    ("asked", "device", "stored", "half", "expected"),
    [
        (Dtype.AUTO, "cuda", "bfloat16", F16, BF16),
        (Dtype.AUTO, "cuda", "float32", BF16, BF16),
        (Dtype.AUTO, "cpu", "bfloat16", F32, F32),
        (Dtype.AUTO, "cpu", None, BF16, BF16),
        (Dtype.FP8, "cuda", "bfloat16", F16, BF16),
        (Dtype.FLOAT32, "cuda", "bfloat16", BF16, F32),
        (Dtype.FLOAT16, "cpu", "float32", BF16, F16),
    ],
)
def test_format(
    asked: Dtype, device: str, stored: str | None, half: torch.dtype, expected: torch.dtype
) -> None:
    assert choose_dtype(asked, device, stored, half) is expected


@pytest.mark.parametrize(
    ("decided", "expected"), [(None, F32), (Dtype.BFLOAT16, BF16), (Dtype.FLOAT32, F32)]
)
def test_the_format_of_the_choice(decided: Dtype | None, expected: torch.dtype) -> None:
    spec = ModelSpec.model_validate({"model": "m", "device": "cpu"})
    assert Runtime.start(spec, 1, "bfloat16", dtype=decided).dtype is expected


@pytest.mark.parametrize(
    ("dtype", "fits", "expected"),
    [("auto", True, F16), ("auto", False, F32), ("float16", False, F16)],
)
def test_a_model_that_exceeds_float16(
    monkeypatch: pytest.MonkeyPatch, dtype: str, fits: bool, expected: torch.dtype
) -> None:
    """On a device whose quick format is float16, as an Apple GPU's is."""
    monkeypatch.setattr(runtime, "_half", lambda device: F16)
    spec = ModelSpec.model_validate({"model": "m", "device": "cpu", "dtype": dtype})
    assert Runtime.start(spec, 1, "float32", float16=fits).dtype is expected
