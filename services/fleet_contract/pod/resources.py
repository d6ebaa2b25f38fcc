"""Resources of a container: Kubernetes quantities, and devices that are allocated dynamically."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from fleet_contract.spec_base import SpecPart


def _as_text(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(value)


QUANTITY = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,3})?$"
"""A quantity that is not negative, as in kubernetes.io/docs/reference/kubernetes-api/
common-definitions/quantity. The chart's values.schema.json has the same pattern."""
QUANTITY_CHARS = 64

Quantity = Annotated[
    str,
    Field(
        max_length=QUANTITY_CHARS,
        pattern=QUANTITY,
        json_schema_extra={"x-kubernetes-int-or-string": True, "minimum": 0},
    ),
    BeforeValidator(_as_text),
]
"""A Kubernetes quantity such as `500m`, `2` or `4Gi`; numbers are accepted as well. In a custom
resource, fractions are strings: its schema cannot express a field of numbers and strings."""


class Resources(SpecPart):
    """Compute resources, as in a container spec."""

    requests: dict[str, Quantity] = Field(default_factory=dict)
    """Resources reserved for the container, such as `cpu: 2`."""
    limits: dict[str, Quantity] = Field(default_factory=dict)
    """The maximum the container may use, such as `nvidia.com/gpu: 1`."""


class DeviceRequest(SpecPart):
    """Devices of one class, allocated dynamically (DRA, resource.k8s.io/v1)."""

    device_class: str = Field(
        alias="class", max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
    )
    """Name of the DeviceClass, such as `gpu.nvidia.com`."""
    count: int = Field(default=1, ge=1, le=32)
    """Number of devices."""
    selectors: list[Annotated[str, Field(min_length=1, max_length=10_240)]] = Field(
        default_factory=list, max_length=32
    )
    """CEL expressions on `device` that a device must fulfil."""
