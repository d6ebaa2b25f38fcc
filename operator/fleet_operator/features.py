"""Optional features of a cluster that the operator uses where they exist."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Features:
    """`device_claims`: ResourceClaimTemplates can be managed (resource.k8s.io/v1, Kubernetes 1.34).

    `inference_pools`: InferencePools can be managed (inference.networking.k8s.io/v1).
    `image_volumes`: pods can mount images as volumes (Kubernetes 1.35).
    """

    device_claims: bool = False
    inference_pools: bool = False
    image_volumes: bool = False
