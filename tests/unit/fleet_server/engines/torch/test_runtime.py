"""The number format torch computes in."""

from __future__ import annotations

import pytest
import torch

from fleet_contract.spec import Dtype, ModelSpec
from fleet_server.engines.torch import runtime
from fleet_server.engines.torch.runtime import Runtime, choose_dtype
from fleet_server.load_error import LoadError

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


def test_int8_is_refused() -> None:
    with pytest.raises(LoadError, match="int8"):
        choose_dtype(Dtype.INT8, "cpu", None, F32)


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
