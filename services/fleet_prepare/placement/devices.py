"""Refuses devices that a machine lacks, or that the engine of a spec does not use; pure."""

from __future__ import annotations

from fleet_contract.engines.features import INTEL, kind_of
from fleet_contract.engines.limits import DEVICE_HINT, device_refusal
from fleet_contract.spec import Engine, ModelSpec
from fleet_prepare.errors import CannotServe
from fleet_prepare.machine import Machine


def check(spec: ModelSpec, machine: Machine) -> None:
    """Raises CannotServe if the spec names a device that this machine does not have, or that no
    engine of the spec uses."""
    kind = kind_of(spec.device)
    if kind in INTEL:
        _check_intel(spec, machine, kind)
    elif kind not in ("auto", "cpu", machine.accelerator):
        _check_gpu(spec, machine, kind)


def _check_gpu(spec: ModelSpec, machine: Machine, kind: str) -> None:
    hint = DEVICE_HINT
    if kind == "mps":
        name = "no Metal"
    elif spec.engine is Engine.LLAMACPP:
        if machine.has_amd:
            return
        name = "no NVIDIA or AMD GPU that this process may open, or CUDA_VISIBLE_DEVICES hides it"
    elif machine.has_amd:
        name = "an AMD GPU that only the llamacpp engine may use, since torch is no ROCm build"
        hint = (
            "Install a ROCm build of torch, or for a GGUF file set `engine: llamacpp` and install "
            "a build of llama.cpp for the GPU (docs/adding-a-model.md)."
        )
    else:
        name = (
            "no NVIDIA GPU, and no AMD GPU that a ROCm build of torch uses, or "
            "CUDA_VISIBLE_DEVICES hides it"
        )
    raise CannotServe(f"{spec.model} requires device {spec.device}; this machine has {name}.", hint)


def _check_intel(spec: ModelSpec, machine: Machine, kind: str) -> None:
    if kind not in machine.intel:
        name = {
            "gpu": "no Intel GPU that this process may open (NVIDIA's are `cuda`)",
            "npu": "no Intel NPU that this process may open",
        }[kind]
        raise CannotServe(
            f"{spec.model} requires device {spec.device}; this machine has {name}.", DEVICE_HINT
        )
    engine = Engine.OPENVINO if spec.engine is Engine.AUTO else spec.engine
    if (why := device_refusal(spec, engine, spec.device)) is not None:
        raise CannotServe(f"{spec.model} requires device {spec.device}: {why}.", DEVICE_HINT)
