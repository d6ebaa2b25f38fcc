"""Chooses the image of a server.

An engine that no configured image contains becomes a condition instead of a pod that crashes.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet_contract import accelerators
from fleet_contract.accelerators import Vendor
from fleet_contract.spec import Engine, ModelSpec
from fleet_contract.status import INVALID_SPEC
from fleet_operator.settings import OperatorSettings
from fleet_operator.vllm_images import VllmImages


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a spec cannot be run: a machine-readable reason and a message."""

    reason: str
    message: str


def with_vllm_image(spec: ModelSpec, images: VllmImages) -> ModelSpec:
    """`spec` with the image of vLLM's own server, if it runs in one of `images`."""
    if spec.engine is not Engine.VLLM or spec.is_foreign:
        return spec
    found = needs_accelerator(spec)
    vendor = Vendor.NVIDIA if found is None else found[0]
    if vendor is Vendor.NVIDIA and images.own:
        return spec
    image = {Vendor.AMD: images.rocm, Vendor.INTEL: images.intel}.get(vendor) or images.vllm
    return spec.model_copy(update={"image": image}) if image else spec


def choose_image(spec: ModelSpec, settings: OperatorSettings) -> str | Problem:
    """The image of the server's container."""
    if spec.is_foreign and spec.container is not None and spec.container.image:
        return spec.container.image
    if spec.image:
        return spec.image
    if spec.engine is Engine.CONTAINER:
        return Problem(INVALID_SPEC, "engine container needs container.image")
    if spec.engine is Engine.VLLM:
        return settings.vllm_images.own or Problem(
            "EngineUnavailable",
            "engine vllm needs the server image with vLLM, or container.image: SERVER_IMAGE_VLLM "
            "and VLLM_IMAGE are not set",
        )
    if spec.device == "mps":
        return Problem("EngineUnavailable", "device mps is not available in pods")
    found = needs_accelerator(spec)
    if found is not None and spec.engine is Engine.LLAMACPP:
        return Problem(
            "EngineUnavailable",
            f"engine llamacpp computes on the CPU in the server's images and cannot use "
            f"{found[1]}; set `image` to one with a build of xllamacpp for it",
        )
    if found is not None:
        return _of_vendor(*found, settings)
    reason = needs_torch(spec)
    if reason is None:
        return settings.image_cpu
    return _of_vendor(Vendor.NVIDIA, reason, settings)


def needs_accelerator(spec: ModelSpec) -> tuple[Vendor, str] | None:
    """The vendor whose image the spec requires, and what requires it."""
    for name in accelerators.requested(spec):
        vendor = accelerators.vendor(name)
        if vendor is not None:
            kind = "resource" if "/" in name else "device class"
            return vendor, f"the {kind} {name}"
    if spec.device.startswith("cuda"):
        return Vendor.NVIDIA, f"device {spec.device}"
    if Vendor.INTEL in accelerators.DEVICE_VENDORS.get(spec.device.partition(":")[0], ()):
        return Vendor.INTEL, f"device {spec.device}"
    return None


def needs_torch(spec: ModelSpec) -> str | None:
    """What requires torch on a CPU; None if the small image suffices."""
    if spec.engine is Engine.TORCH:
        return "engine torch"
    if spec.vision and spec.engine is Engine.AUTO and not names_gguf(spec):
        return "vision"
    return None


def names_gguf(spec: ModelSpec) -> bool:
    """Whether the source is one GGUF file, whose images llama.cpp reads."""
    return (spec.source or "").endswith(".gguf")


def _of_vendor(vendor: Vendor, reason: str, settings: OperatorSettings) -> str | Problem:
    image, content, setting = {
        Vendor.NVIDIA: (settings.image_cuda, "torch", "SERVER_IMAGE_CUDA"),
        Vendor.AMD: (settings.image_rocm, "torch and ROCm", "SERVER_IMAGE_ROCM"),
        Vendor.INTEL: (settings.image_intel, "Intel's drivers", "SERVER_IMAGE_INTEL"),
    }[vendor]
    return image or Problem(
        "EngineUnavailable",
        f"{reason} needs the server image with {content}: {setting} is not set",
    )
