"""`oci://` sources."""

from __future__ import annotations

import pytest

from fleet_operator.resources.pod_parts.image_source import path, reference

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("address", "image", "inner"),
    [
        ("oci://ghcr.io/org/m:1", "ghcr.io/org/m:1", "/modelfleet-image"),
        ("oci://host:5000/a/b_c:v1.2/models/x", "host:5000/a/b_c:v1.2",
         "/modelfleet-image/models/x"),
        (f"oci://ghcr.io/org/m@{DIGEST}", f"ghcr.io/org/m@{DIGEST}", "/modelfleet-image"),
        (f"oci://ghcr.io/org/m:1@{DIGEST}/x", f"ghcr.io/org/m:1@{DIGEST}", "/modelfleet-image/x"),
    ],
)  # fmt: skip
def test_image_and_path(address: str, image: str, inner: str) -> None:
    assert reference(address) == image
    assert path(address) == inner


@pytest.mark.parametrize(
    "address",
    ["oci://ghcr.io/org/m", "oci://ghcr.io", "oci://ghcr.io/org/m@sha256:12", "oci:///m:1",
     "oci://ghcr.io/Org/m:1", "oci://host:5000/m"],
)  # fmt: skip
def test_a_tag_or_digest_is_required(address: str) -> None:
    assert reference(address) is None
