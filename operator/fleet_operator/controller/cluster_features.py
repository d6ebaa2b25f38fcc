"""Finds out which optional features the cluster has, and when that changes."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from fleet_kube.client import KubeClient
from fleet_kube.errors import ApiError, ApiUnreachable, KubeError
from fleet_kube.kind import Kind
from fleet_kube.retries import until_settled
from fleet_operator.features import Features
from fleet_operator.kinds import DEVICE_CLAIM_TEMPLATE, INFERENCE_POOL, MODEL, optional_kinds
from fleet_operator.settings import OperatorSettings
from fleet_web.logs import event as log

logger = logging.getLogger(__name__)

IMAGE_VOLUMES_SINCE = (1, 35)
"""From this version on, image volumes are enabled by default
(kubernetes.io/docs/tasks/configure-pod-container/image-volumes)."""
NOT_FOUND = 404
TRIES = 5
"""How often a kind is looked for while the API server fails: one, such as with a broken conversion
webhook, must not keep the operator from starting, and is looked for again later."""


async def features_of(api: KubeClient, settings: OperatorSettings) -> Features:
    """The features of the cluster, as far as the operator may use them.

    Waits while the API server cannot be reached, or fails to return its version: image volumes are
    not looked for again, and pod templates depend on them.
    """

    async def available(kind: Kind) -> bool:
        return await _settled(kind.kind, lambda: _is_available(api, settings, kind))

    return Features(
        device_claims=await available(DEVICE_CLAIM_TEMPLATE),
        inference_pools=await available(INFERENCE_POOL),
        image_volumes=await _settled(
            "image volumes", lambda: _image_volumes(api, settings), tries=math.inf
        ),
    )


async def until_changed(
    api: KubeClient, settings: OperatorSettings, features: Features, interval: float
) -> None:
    """Return once an optional kind becomes available, or its definition is deleted.

    The kinds of caches and watches are fixed, so they must be created again.
    """
    while True:
        await asyncio.sleep(interval * random.uniform(1, 2))  # noqa: S311 (jitter)
        for kind, served in optional_kinds(features):
            try:
                changed = await (_is_deleted if served else _is_available)(api, settings, kind)
            except KubeError:
                continue
            if changed:
                log(logger, "kind_deleted" if served else "kind_added", kind=kind.kind)
                return


async def _settled(feature: str, look: Callable[[], Awaitable[bool]], tries: float = TRIES) -> bool:
    """What `look` finds, tried again after errors that may pass; False after another error, or
    after as many tries."""

    def failed(error: KubeError) -> None:
        if isinstance(error, ApiUnreachable):
            log(logger, "api_unreachable", level=logging.WARNING, error=str(error))
        else:
            log(logger, "feature_unknown", level=logging.WARNING, feature=feature, error=str(error))

    try:
        return await until_settled(look, failed, tries)
    except ApiError as error:
        failed(error)
        return False


async def _is_available(api: KubeClient, settings: OperatorSettings, kind: Kind) -> bool:
    """Whether the kind can be listed in every namespace in which models can be.

    Raises ApiUnreachable, and ApiError for one that may pass.
    """
    found = False
    for namespace in settings.namespaces or (None,):
        if (error := await _refusal(api, kind, namespace)) is None:
            found = True
        elif namespace is None or await _refusal(api, MODEL, namespace) is None:
            log(logger, "kind_unavailable", level=logging.DEBUG, kind=kind.kind,
                status=error.status, error=error.message)  # fmt: skip
            return False
    return found


async def _is_deleted(api: KubeClient, settings: OperatorSettings, kind: Kind) -> bool:
    """Whether the API server does not know the kind. Raises as `_is_available`."""
    for namespace in settings.namespaces or (None,):
        error = await _refusal(api, kind, namespace)
        if error is not None and error.status == NOT_FOUND:
            return True
    return False


async def _refusal(api: KubeClient, kind: Kind, namespace: str | None) -> ApiError | None:
    """The error of a list, None if it succeeds. Raises ApiUnreachable, and ApiError for one that
    may pass."""
    try:
        async with aclosing(api.pages(kind, namespace, metadata_only=True)) as pages:
            async for _ in pages:
                break
    except ApiError as error:
        if error.may_pass:
            raise
        return error
    return None


async def _image_volumes(api: KubeClient, settings: OperatorSettings) -> bool:
    if settings.image_volumes is not None:
        return settings.image_volumes
    return await api.version() >= IMAGE_VOLUMES_SINCE
