"""OpenVINO's names of devices and its compile properties."""

from __future__ import annotations

import pytest

from fleet_contract.spec import Dtype
from fleet_server.engines.openvino.properties import compile_properties, plugin, shown_device
from fleet_server.load_error import LoadError


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
    assert compile_properties(dtype, 4, True, device) == {"INFERENCE_PRECISION_HINT": hint}


@pytest.mark.parametrize(
    ("device", "dtype"), [("gpu", Dtype.BFLOAT16), ("npu", Dtype.FLOAT32), ("gpu", Dtype.FP8)]
)
def test_formats_that_an_accelerator_lacks(device: str, dtype: Dtype) -> None:
    with pytest.raises(LoadError, match=f"does not support {dtype.value} on device {device}"):
        compile_properties(dtype, 4, True, device)


def test_the_formats_of_a_cpu() -> None:
    assert compile_properties(Dtype.AUTO, 2, True) == {
        "INFERENCE_NUM_THREADS": "2", "INFERENCE_PRECISION_HINT": "bf16",
    }  # fmt: skip
    with pytest.raises(LoadError, match="on a CPU"):
        compile_properties(Dtype.FLOAT16, 2, True)
