"""Chooses the image of a server.

An engine that no configured image contains becomes a condition instead of a pod that crashes.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet_contract.spec import Engine, ModelSpec
from fleet_contract.status import INVALID_SPEC
from fleet_operator.settings import OperatorSettings

FOREIGN = frozenset({Engine.VLLM, Engine.CONTAINER})
"""Engines that run in images of other projects."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a spec cannot be run: a machine-readable reason and a message."""

    reason: str
    message: str


def choose_image(spec: ModelSpec, settings: OperatorSettings) -> str | Problem:
    """The image of the server's container."""
    if spec.engine in FOREIGN and spec.container is not None and spec.container.image:
        return spec.container.image
    if spec.image:
        return spec.image
    if spec.engine is Engine.CONTAINER:
        return Problem(INVALID_SPEC, "engine container needs container.image")
    if spec.engine is Engine.VLLM:
        return settings.image_vllm or Problem(
            "EngineUnavailable", "engine vllm needs container.image: VLLM_IMAGE is not set"
        )
    if spec.engine is Engine.LLAMACPP:
        return Problem("EngineUnavailable", "no server image contains engine llamacpp: set `image`")
    if spec.device == "mps":
        return Problem("EngineUnavailable", "device mps is not available in pods")
    reason = needs_cuda_image(spec)
    if reason is None:
        return settings.image_cpu
    return settings.image_cuda or Problem(
        "EngineUnavailable", f"{reason} needs the server image with torch: "
        "SERVER_IMAGE_CUDA is not set",
    )  # fmt: skip


def needs_cuda_image(spec: ModelSpec) -> str | None:
    """What requires the image with torch and CUDA; None if the small image suffices."""
    if spec.engine is Engine.TORCH:
        return "engine torch"
    if spec.device.startswith("cuda"):
        return f"device {spec.device}"
    requested = {**spec.resources.limits, **spec.resources.requests}
    gpu = next((name for name in requested if name.startswith(("nvidia.com/", "amd.com/"))), None)
    if gpu is not None:
        return f"the resource {gpu}"
    if spec.vision and spec.engine is Engine.AUTO:
        return "vision"
    return None
