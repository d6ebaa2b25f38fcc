"""Chooses the image of a server.

An engine that no configured image contains becomes a condition instead of a pod that crashes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fleet_contract import accelerators
from fleet_contract.accelerators import Vendor
from fleet_contract.engines import features
from fleet_contract.engines.limits import refusal_of_all
from fleet_contract.settings import override
from fleet_contract.spec import Dtype, Engine, ModelSpec, Task
from fleet_contract.spec_parts import CacheType
from fleet_contract.status import INVALID_SPEC
from fleet_operator.settings import OperatorSettings
from fleet_operator.vllm_images import VllmImages

OTHER_IMAGES = (Engine.CONTAINER, Engine.REMOTE, Engine.CUSTOM)
SHARED = ".shared"
"""End of the resources of GPUs that several pods use by turns (NVIDIA's device plugin)."""
_GGUF = re.compile(r"(?<![a-z0-9])gguf(?![a-z0-9])")


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
    if vendor is Vendor.NVIDIA and images.own and spec.task is Task.CHAT:
        return spec
    image = {Vendor.AMD: images.rocm, Vendor.INTEL: images.intel}.get(vendor) or images.vllm
    return spec.model_copy(update={"image": image}) if image else spec


def choose_image(spec: ModelSpec, settings: OperatorSettings) -> str | Problem:
    """The image of the server's container; a Problem if none has an engine that serves the spec,
    whatever its files."""
    image = _image(spec, settings)
    if spec.is_foreign or spec.image or spec.handler is not None or spec.engine in OTHER_IMAGES:
        return image
    if isinstance(image, Problem) and spec.engine is Engine.VLLM:
        return image
    return _refused(as_served(spec), image, settings) or image


def as_served(spec: ModelSpec) -> ModelSpec:
    """`spec` with the settings in its own `env`; without those that its server will refuse."""
    try:
        return override(spec, spec.plain_env) if spec.env else spec
    except ValueError:
        return spec


def _refused(spec: ModelSpec, image: str | Problem, settings: OperatorSettings) -> Problem | None:
    """Why no server in `image` serves the spec."""
    device, kind = accelerators.device(spec), features.kind_of(spec.device)
    names = accelerators.requested(spec)
    able = accelerators.DEVICE_VENDORS.get(kind)
    if able and names and not any(accelerators.vendor(name) in able for name in names):
        return Problem(
            INVALID_SPEC,
            f"device {spec.device} is not one of {', '.join(names)}, which the model requests: "
            "remove `device`, or request others",
        )
    if device == "auto" and image == settings.image_cpu:
        device = "cpu"
    refused = refusal_of_all(spec, _engines(spec, image, settings), device)
    if refused is None:
        return None
    if device == spec.device or device == "cpu":
        return Problem(INVALID_SPEC, f"{refused.message} {refused.hint}")
    return Problem(
        INVALID_SPEC,
        f"{refused.message} It requests {', '.join(names)}: remove that, or set `device: cpu`.",
    )


def _engines(
    spec: ModelSpec, image: str | Problem, settings: OperatorSettings
) -> tuple[Engine, ...]:
    """The engines that a server in `image` chooses from."""
    if spec.engine is not Engine.AUTO:
        return (spec.engine,)
    found = needs_accelerator(spec)
    if found is None and image == settings.image_cpu:
        return features.CPU_ENGINES
    if found is None:
        return (*features.CPU_ENGINES, Engine.TORCH)
    if found[0] is Vendor.INTEL:
        return (Engine.OPENVINO,)
    if image == settings.vllm_images.own:
        return (Engine.VLLM,)
    if spec.task is not Task.CHAT or spec.device == "cpu":
        return (*features.CPU_ENGINES, Engine.TORCH)
    if names_gguf(spec) and (spec.adapters or spec.vision):
        return (Engine.LLAMACPP,)  # on the CPU
    if isinstance(image, Problem) and auto_takes_vllm(spec):
        return (Engine.VLLM, Engine.TORCH)
    return (Engine.TORCH,)


def _image(spec: ModelSpec, settings: OperatorSettings) -> str | Problem:
    if spec.is_foreign and spec.container is not None and spec.container.image:
        return spec.container.image
    if spec.image:
        return spec.image
    if spec.engine is Engine.CONTAINER:
        return Problem(INVALID_SPEC, "engine container needs container.image")
    if spec.engine is Engine.VLLM:
        return _image_with_vllm(spec, settings.vllm_images)
    if spec.device == "mps":
        return Problem("EngineUnavailable", "device mps is not available in pods")
    found = needs_accelerator(spec)
    if found is not None and spec.engine is Engine.LLAMACPP:
        return Problem(
            "EngineUnavailable",
            f"engine llamacpp computes on the CPU in the server's images and cannot use "
            f"{found[1]}; set `image` to one with a build of xllamacpp for it",
        )
    if found is not None and found[0] is Vendor.NVIDIA and auto_takes_vllm(spec):
        if settings.vllm_images.own:
            return settings.vllm_images.own
        if spec.adapters:
            return Problem(
                "EngineUnavailable",
                f"adapters on {found[1]} need the server image with vLLM: SERVER_IMAGE_VLLM is not "
                "set",
            )
        return settings.image_cuda or Problem(
            "EngineUnavailable",
            f"{found[1]} needs the server image with vLLM or torch: SERVER_IMAGE_VLLM and "
            "SERVER_IMAGE_CUDA are not set",
        )
    if found is not None:
        return _of_vendor(*found, settings)
    reason = needs_torch(spec)
    if reason is None:
        return settings.image_cpu
    chosen = _of_vendor(Vendor.NVIDIA, reason, settings)
    if isinstance(chosen, Problem) and spec.engine is Engine.AUTO:
        hint = "; for a GGUF with a projector set `engine: llamacpp`, which needs no torch"
        return Problem(chosen.reason, f"{chosen.message}{hint}")
    return chosen


def _image_with_vllm(spec: ModelSpec, images: VllmImages) -> str | Problem:
    """Of `engine: vllm` in this project's server."""
    found = needs_accelerator(spec)
    if found is not None and found[0] is not Vendor.NVIDIA:
        setting = {Vendor.AMD: "VLLM_IMAGE_ROCM", Vendor.INTEL: "VLLM_IMAGE_INTEL"}[found[0]]
        needed = f"{found[1]} needs an image of vLLM's own server for it, or container.image: "
        return Problem("EngineUnavailable", f"{needed}{setting} and VLLM_IMAGE are not set")
    if spec.device == "mps" or (found is None and spec.device == "cpu"):
        return Problem(
            "EngineUnavailable",
            f"engine vllm computes on GPUs in the server's images, and the model has device "
            f"{spec.device}: request an NVIDIA GPU and remove `device`",
        )
    if spec.task is not Task.CHAT:
        return Problem(
            "EngineUnavailable",
            f"engine vllm serves task {spec.task.value} in vLLM's own server only: set "
            "container.image, or VLLM_IMAGE, which is not set",
        )
    return images.own or Problem(
        "EngineUnavailable",
        "engine vllm needs the server image with vLLM, or container.image: SERVER_IMAGE_VLLM "
        "and VLLM_IMAGE are not set",
    )


def needs_accelerator(spec: ModelSpec) -> tuple[Vendor, str] | None:
    """The vendor whose image the spec requires, and what requires it."""
    if spec.device == "cpu":
        return None
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


def auto_takes_vllm(spec: ModelSpec) -> bool:
    """Whether a server with an NVIDIA GPU chooses vLLM for the spec where it is installed, as
    `fleet_prepare.choose` decides. The files are not known here: only the names of the source
    tell GGUF. A shared GPU is left to torch, since vLLM takes a share of its whole memory
    (`cache.gpuMemory`) and does not start where others have it."""
    is_whole = not any(name.endswith(SHARED) for name in accelerators.requested(spec))
    return (
        spec.engine is Engine.AUTO
        and spec.task is Task.CHAT
        and spec.handler is None
        and spec.device.partition(":")[0] in ("auto", "cuda")
        and is_whole
        and not names_gguf(spec)
        and not spec.speculative.wanted
        and spec.cache.type is CacheType.AUTO
        and spec.quantization not in features.QUANTIZED
        and spec.dtype is not Dtype.INT8
    )


def names_gguf(spec: ModelSpec) -> bool:
    """Whether the names of the weights are those of GGUF: of a file, or of a repository such as
    `org/model-GGUF`."""
    names = [file.path for file in spec.weights] or [spec.source or spec.model]
    return any(_GGUF.search(name.lower()) for name in names)


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
