"""Features of the cluster, found at the start."""

from __future__ import annotations

from typing import Any

import pytest

from fleet_kube.errors import ApiError
from fleet_operator.controller.cluster_features import features_of
from fleet_operator.features import Features
from fleet_operator.kinds import CHILDREN, DEVICE_CLAIM_TEMPLATE, children
from support.operator_objects import settings_of


class Api:
    """An API server of a version; lists of ResourceClaimTemplates fail with `status`."""

    def __init__(self, version: tuple[int, int], status: int = 200) -> None:
        self._version = version
        self._status = status
        self.listed: list[str | None] = []

    async def items(self, kind: Any, namespace: str | None, **_: Any) -> list[Any]:
        self.listed.append(namespace)
        if self._status != 200:
            raise ApiError(self._status, "Reason", "message")
        return []

    async def version(self) -> tuple[int, int]:
        return self._version


@pytest.mark.parametrize(
    ("version", "status", "expected"),
    [
        ((1, 36), 200, Features(device_claims=True, image_volumes=True)),
        ((1, 35), 403, Features(device_claims=False, image_volumes=True)),
        ((1, 34), 200, Features(device_claims=True, image_volumes=False)),
        ((1, 30), 404, Features()),
        ((2, 0), 200, Features(device_claims=True, image_volumes=True)),
    ],
)
async def test_by_version_and_rights(
    version: tuple[int, int], status: int, expected: Features
) -> None:
    api: Any = Api(version, status)
    assert await features_of(api, settings_of()) == expected


async def test_a_setting_overrides_the_version() -> None:
    new: Any = Api((1, 36))
    old: Any = Api((1, 33))
    assert not (await features_of(new, settings_of(IMAGE_VOLUMES="0"))).image_volumes
    assert (await features_of(old, settings_of(IMAGE_VOLUMES="true"))).image_volumes
    assert (await features_of(new, settings_of(IMAGE_VOLUMES="auto"))).image_volumes


async def test_rights_are_needed_in_every_namespace() -> None:
    api = Api((1, 36))
    sent: Any = api
    await features_of(sent, settings_of(WATCH_NAMESPACES="a,b"))
    assert api.listed == ["a", "b"]


def test_the_kinds_of_children() -> None:
    assert children(Features()) == CHILDREN
    assert DEVICE_CLAIM_TEMPLATE in children(Features(device_claims=True))
