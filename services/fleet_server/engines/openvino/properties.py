"""OpenVINO's name of a device and its compile properties: threads and number format."""

from __future__ import annotations

from fleet_contract.spec import Dtype

CPU = "CPU"
PLUGINS = {"gpu": "GPU", "npu": "NPU"}
HINTS = {Dtype.FLOAT32: "f32", Dtype.BFLOAT16: "bf16", Dtype.FLOAT16: "f16"}


def plugin(device: str) -> str:
    """OpenVINO's name of a `device` of the spec, such as `GPU.1` of `gpu:1`; others are the CPU."""
    kind, _, number = device.partition(":")
    name = PLUGINS.get(kind, CPU)
    return f"{name}.{number}" if number and name != CPU else name


def shown_device(device: str) -> str:
    """The device that is used, in the terms of the spec."""
    return "cpu" if plugin(device) == CPU else device


def compile_properties(
    dtype: Dtype, threads: int, device: str = "cpu", *, exact: bool = False
) -> dict[str, str]:
    """Properties of a compiled model that computes in `dtype`, one of the device's formats
    (fleet_prepare/placement/dtypes.py); `auto` is the one that every device of the kind has.

    If `exact`, the key/value cache and the activations are not quantised on a CPU, for results
    equal to the reference.
    """
    on_cpu = plugin(device) == CPU
    if dtype is Dtype.AUTO:
        dtype = Dtype.FLOAT32 if on_cpu else Dtype.FLOAT16
    properties = {"INFERENCE_PRECISION_HINT": HINTS[dtype]}
    if not on_cpu:
        return properties
    properties["INFERENCE_NUM_THREADS"] = str(threads)
    if exact:
        properties |= {"KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    return properties
