"""Accelerators of a spec: extended resources and device requests, by vendor.

Extended resources are those of device plugins, such as `nvidia.com/gpu`, `nvidia.com/mig-1g.10gb`,
`amd.com/gpu` and `gpu.intel.com/i915`; device classes are those of DRA drivers, such as
`gpu.nvidia.com`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fleet_contract.spec import ModelSpec


class Vendor(StrEnum):
    """Vendors for which there are server images."""

    NVIDIA = "nvidia"
    AMD = "amd"
    INTEL = "intel"


DOMAINS: dict[str, Vendor | None] = {
    "nvidia.com": Vendor.NVIDIA,
    "amd.com": Vendor.AMD,
    "gpu.intel.com": Vendor.INTEL,
    "npu.intel.com": Vendor.INTEL,
    "habana.ai": None,
    "google.com": None,
    "aws.amazon.com": None,
    "huawei.com": None,
}
"""Domains of accelerators in the names of resources and device classes, and their vendors."""
INTEL_NPU = "npu.intel.com"
SHARE = re.compile(r"(mem|memory|cores|percentage|memory\.max|millicores|tiles|_monitoring)$")
"""Resources that bound or describe a share of an accelerator that is requested besides."""
DEVICE_VENDORS: dict[str, frozenset[Vendor]] = {
    "cpu": frozenset(),
    "mps": frozenset(),
    "cuda": frozenset({Vendor.NVIDIA, Vendor.AMD}),
    "gpu": frozenset({Vendor.INTEL}),
    "npu": frozenset({Vendor.INTEL}),
}
"""Values of `device`, without a number, and whose accelerators they are. ROCm's torch calls its
devices `cuda`."""
DEVICES = "devices"
RESOURCES = "resources"
AMOUNTS = ("requests", "limits")


@dataclass(frozen=True, slots=True)
class SpecLayer:
    """Fields in camelCase, as on the wire, and the name of their origin."""

    name: str
    fields: Mapping[str, Any]


def domain(name: str) -> str | None:
    """The domain of an accelerator in the name of a resource or device class; None for others."""
    host = name.partition("/")[0]
    return next((known for known in DOMAINS if host == known or host.endswith(f".{known}")), None)


def is_accelerator(resource: str) -> bool:
    """Whether an extended resource stands for accelerators, not for a share of one."""
    return "/" in resource and domain(resource) is not None and not SHARE.search(resource)


def requested(spec: ModelSpec) -> list[str]:
    """Resources and device classes of the accelerators that the spec requests; 0 requests none."""
    resources = {**spec.resources.limits, **spec.resources.requests}
    names = [name for name, amount in resources.items() if is_accelerator(name) and _any(amount)]
    return names + [one.device_class for one in spec.devices if domain(one.device_class)]


def vendor(name: str) -> Vendor | None:
    """The vendor of a resource or device class."""
    found = domain(name)
    return DOMAINS[found] if found is not None else None


def device(spec: ModelSpec) -> str:
    """The spec's `device`; where that is `auto`, an Intel GPU or NPU that the spec requests.

    A server chooses NVIDIA and AMD GPUs by itself, but not Intel's: most are part of a CPU.
    """
    if spec.device != "auto":
        return spec.device
    found = next((name for name in requested(spec) if vendor(name) is Vendor.INTEL), None)
    if found is None:
        return spec.device
    return "npu" if domain(found) == INTEL_NPU else "gpu"


def one_unit(
    layers: Sequence[SpecLayer], ranks: Sequence[int]
) -> tuple[list[SpecLayer], list[str]]:
    """The layers with the accelerators of one of them only, and notes on what was left out.

    `layers` are in the order in which they are merged; `ranks` are their indices by the precedence
    of their accelerators. Where several layers name the same resources, the amounts are those of
    the first in `layers`.
    """
    units = [_unit(layer.fields) for layer in layers]
    left = _unusable(layers, units, ranks)
    usable = [index for index in ranks if units[index] and index not in left]
    if usable:
        names = units[usable[0]].keys()
        owner = min(index for index in usable if units[index].keys() == names)
        why = f"the {layers[owner].name} names {', '.join(sorted(names))}"
        left |= {index: why for index in usable if units[index].keys() != names}
        same = [index for index in usable if units[index] != units[owner] and index not in left]
        for index in same:
            layers = [*layers[:index], _without(layers[index]), *layers[index + 1 :]]
    notes = [
        f"{', '.join(sorted(units[index]))} of the {layers[index].name} left out: {left[index]}"
        for index in sorted(left)
    ]
    return [_without(one) if i in left else one for i, one in enumerate(layers)], notes


Unit = Mapping[str, frozenset[str]]
"""Amounts of each accelerator of a layer, by the name of its resource or device class."""


def _unusable(
    layers: Sequence[SpecLayer], units: Sequence[Unit], ranks: Sequence[int]
) -> dict[int, str]:
    """Why accelerators of layers are left out: the `device` of a layer before cannot use them."""
    chosen = next((i for i, layer in enumerate(layers) if layer.fields.get("device")), None)
    if chosen is None:
        return {}
    wanted = str(layers[chosen].fields["device"])
    able = DEVICE_VENDORS.get(wanted.partition(":")[0])
    if able is None:
        return {}
    why = f"the {layers[chosen].name} requires device {wanted}"
    lower = ranks[list(ranks).index(chosen) + 1 :]
    return {i: why for i in lower if any(vendor(name) not in able for name in units[i])}


def _unit(fields: Mapping[str, Any]) -> Unit:
    found: dict[str, set[str]] = {}
    for amounts in _amounts(fields).values():
        for name in filter(is_accelerator, amounts):
            found.setdefault(name, set()).add(str(amounts[name]))
    requests = fields.get(DEVICES)
    for one in requests if isinstance(requests, list) else ():
        if isinstance(one, Mapping):
            found.setdefault(str(one.get("class")), set()).add(str(one))
    return {name: frozenset(amounts) for name, amounts in found.items()}


def _without(layer: SpecLayer) -> SpecLayer:
    """The layer without accelerators and shares of them."""
    fields = {name: value for name, value in layer.fields.items() if name != DEVICES}
    amounts = _amounts(fields)
    if amounts:
        kept = {
            kind: {name: one for name, one in named.items()
                   if "/" not in name or domain(name) is None}
            for kind, named in amounts.items()
        }  # fmt: skip
        fields[RESOURCES] = {**fields[RESOURCES], **kept}
    return SpecLayer(layer.name, fields)


def _amounts(fields: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    resources = fields.get(RESOURCES)
    if not isinstance(resources, Mapping):
        return {}
    named = {kind: resources.get(kind) for kind in AMOUNTS}
    return {kind: value for kind, value in named.items() if isinstance(value, Mapping)}


def _any(amount: str) -> bool:
    return not re.fullmatch(r"\+?0*\.?0*[a-zA-Z]*", amount)
