"""The configured images for `engine: vllm`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VllmImages:
    """`own` is the server image with vLLM, for NVIDIA GPUs; the others have vLLM's own server, for
    NVIDIA, AMD and Intel GPUs. Used where the spec names no image; "" for none."""

    own: str = ""
    vllm: str = ""
    rocm: str = ""
    intel: str = ""
