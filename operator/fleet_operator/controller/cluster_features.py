"""Finds out which optional features the cluster has, once at the start."""

from __future__ import annotations

import logging

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError
from fleet_operator.features import Features
from fleet_operator.kinds import DEVICE_CLAIM_TEMPLATE
from fleet_operator.settings import OperatorSettings
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

IMAGE_VOLUMES_SINCE = (1, 35)
"""From this version on, image volumes are enabled by default
(kubernetes.io/docs/tasks/configure-pod-container/image-volumes)."""


async def features_of(api: KubeClient, settings: OperatorSettings) -> Features:
    """The features of the cluster, as far as the operator may use them. Raises ApiUnreachable."""
    return Features(
        device_claims=await _device_claims(api, settings),
        image_volumes=await _image_volumes(api, settings),
    )


async def _device_claims(api: KubeClient, settings: OperatorSettings) -> bool:
    try:
        for namespace in settings.namespaces or (None,):
            await api.items(DEVICE_CLAIM_TEMPLATE, namespace, metadata_only=True)
    except ApiError as error:
        log(logger, "no_device_claims", status=error.status, error=error.message)
        return False
    return True


async def _image_volumes(api: KubeClient, settings: OperatorSettings) -> bool:
    if settings.image_volumes is not None:
        return settings.image_volumes
    return await api.version() >= IMAGE_VOLUMES_SINCE
