"""OpenVINO's names of devices and its compile properties."""

from __future__ import annotations

import pytest

from fleet_contract.spec import Dtype
from fleet_server.engines.openvino.properties import compile_properties, plugin, shown_device


@pytest.mark.parametrize(
    ("device", "name", "shown"),
    [("auto", "CPU", "cpu"), ("cpu", "CPU", "cpu"), ("gpu", "GPU", "gpu"),
     ("gpu:1", "GPU.1", "gpu:1"), ("npu", "NPU", "npu")],
)  # fmt: skip
def test_names_of_devices(device: str, name: str, shown: str) -> None:
    assert (plugin(device), shown_device(device)) == (name, shown)


@pytest.mark.parametrize(
    ("device", "dtype", "hint"),
    [("gpu", Dtype.AUTO, "f16"), ("gpu:1", Dtype.FLOAT32, "f32"), ("npu", Dtype.FLOAT16, "f16")],
)
def test_an_accelerator_has_no_threads(device: str, dtype: Dtype, hint: str) -> None:
    assert compile_properties(dtype, 4, device) == {"INFERENCE_PRECISION_HINT": hint}


def test_the_formats_of_a_cpu() -> None:
    for dtype, hint in [("bfloat16", "bf16"), ("float32", "f32"), ("auto", "f32")]:
        assert compile_properties(Dtype(dtype), 2) == {
            "INFERENCE_NUM_THREADS": "2", "INFERENCE_PRECISION_HINT": hint,
        }  # fmt: skip


def test_exact_results_have_nothing_quantised() -> None:
    added = (
        compile_properties(Dtype.FLOAT32, 2, exact=True).items()
        - compile_properties(Dtype.FLOAT32, 2).items()
    )
    assert dict(added) == {"KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
