"""What a refusal by a ResourceQuota says."""

from __future__ import annotations

import pytest

from fleet_operator.quota import is_used_up

PREFIX = 'pods "m-1" is forbidden: exceeded quota: q, '


@pytest.mark.parametrize(
    ("message", "used_up"),
    [
        ("requested: pods=1, used: pods=3, limited: pods=3", True),
        ("requested: pods=1, used: pods=0, limited: pods=0", False),
        ("requested: requests.memory=2Gi,pods=1, used: pods=3,requests.memory=1Gi, "
         "limited: pods=3,requests.memory=2048Mi", True),
        ("requested: requests.nvidia.com/gpu=2, used: requests.nvidia.com/gpu=1, "
         "limited: requests.nvidia.com/gpu=1", False),
        ("requested: cpu=1500m,pods=1, used: cpu=1, limited: cpu=1", False),
        ("in words of another version", True),
    ],
)  # fmt: skip
def test_used_up(message: str, used_up: bool) -> None:
    assert is_used_up(PREFIX + message) is used_up


def test_other_refusals() -> None:
    assert not is_used_up('violates PodSecurity "restricted:latest"')
