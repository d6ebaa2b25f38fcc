"""OpenVINO's compile properties: threads and number format."""

from __future__ import annotations

from fleet_contract.spec import Dtype
from fleet_server.load_error import LoadError


def compile_properties(dtype: Dtype, threads: int, bf16: bool) -> dict[str, str]:
    """Properties of a compiled model; `auto` is bf16 if the CPU supports it (`bf16`), else f32.

    With float32 the key/value cache and the activations are not quantised either, for results
    equal to the reference. Raises LoadError for a format not supported on a CPU.
    """
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
