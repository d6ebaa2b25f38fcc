"""OpenVINO's name of a device and its compile properties: threads and number format."""

from __future__ import annotations

from fleet_contract.spec import Dtype
from fleet_server.load_error import LoadError

CPU = "CPU"
PLUGINS = {"gpu": "GPU", "npu": "NPU"}


def plugin(device: str) -> str:
    """OpenVINO's name of a `device` of the spec, such as `GPU.1` of `gpu:1`; others are the CPU."""
    kind, _, number = device.partition(":")
    name = PLUGINS.get(kind, CPU)
    return f"{name}.{number}" if number and name != CPU else name


def shown_device(device: str) -> str:
    """The device that is used, in the terms of the spec."""
    return "cpu" if plugin(device) == CPU else device


def compile_properties(
    dtype: Dtype, threads: int, bf16: bool, device: str = "cpu"
) -> dict[str, str]:
    """Properties of a compiled model; `auto` is bf16 if the CPU supports it (`bf16`), else f32, and
    f16 on an Intel GPU or NPU.

    With float32 the key/value cache and the activations are not quantised either, for results
    equal to the reference. Raises LoadError for a format the device does not support.
    """
    if plugin(device) != CPU:
        return _of_accelerator(dtype, device)
    properties = {"INFERENCE_NUM_THREADS": str(threads)}
    if dtype is Dtype.FLOAT32 or (dtype is Dtype.AUTO and not bf16):
        properties["INFERENCE_PRECISION_HINT"] = "f32"
    elif dtype in (Dtype.BFLOAT16, Dtype.AUTO):
        properties["INFERENCE_PRECISION_HINT"] = "bf16"
    else:
        raise LoadError(
            f"The openvino engine does not support {dtype.value} on a CPU.",
            "Use dtype auto, bfloat16 or float32.",
        )
    if dtype is Dtype.FLOAT32:
        properties |= {"KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    return properties


def _of_accelerator(dtype: Dtype, device: str) -> dict[str, str]:
    if dtype in (Dtype.AUTO, Dtype.FLOAT16):
        return {"INFERENCE_PRECISION_HINT": "f16"}
    if dtype is Dtype.FLOAT32 and plugin(device).startswith("GPU"):
        return {"INFERENCE_PRECISION_HINT": "f32"}
    raise LoadError(
        f"The openvino engine does not support {dtype.value} on device {device}.",
        "Use dtype auto or float16.",
    )
