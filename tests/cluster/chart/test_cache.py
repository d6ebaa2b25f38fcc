"""The shared claim for weights: no change of values fails an upgrade or deletes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chart.release import Release
from harness.api import Api, Json

CLAIM = "fleet-modelfleet-models"
KEPT = "helm.sh/resource-policy"


def claim(release: Release) -> Json:
    return release.tenant.get("v1", "PersistentVolumeClaim", CLAIM)


def size(release: Release) -> str:
    return str(claim(release)["spec"]["resources"]["requests"]["storage"])


def cache(**values: object) -> Json:
    return {"modelCache": {"enabled": True, **values}}


@pytest.fixture
def class_that_grows(api: Api, release: Release) -> Iterator[str]:
    """A storage class that allows expansion, with a volume for the claim."""
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "grows"},
        "provisioner": "example.com/none",
        "allowVolumeExpansion": True,
    }
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "grows"},
        "spec": {
            "capacity": {"storage": "1Ti"},
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "grows",
            "hostPath": {"path": "/nonexistent"},
            "claimRef": {"namespace": release.tenant.namespace, "name": CLAIM},
        },
    }
    for item in (storage, volume):
        api.create(item)
    yield "grows"
    for item in (volume, storage):
        api.delete(item)


def test_values_that_a_claim_cannot_have_are_noted(release: Release) -> None:
    release("install", values=cache(size="50Gi", storageClassName="slow"))
    found = claim(release)
    assert found["metadata"]["annotations"][KEPT] == "keep"
    notes = release(
        "upgrade", values=cache(size="1Ti", storageClassName="fast", accessMode="ReadWriteOnce")
    )
    assert "has slow, which cannot change" in notes
    assert "has ReadWriteMany, which cannot change" in notes
    assert "can grow only once it is bound" in notes
    notes = release("upgrade", values=cache(size="0.5Gi"))
    assert "has 50Gi; a claim cannot shrink" in notes
    assert claim(release)["spec"] == found["spec"]
    release("uninstall")
    assert claim(release)["metadata"]["uid"] == found["metadata"]["uid"]


def test_a_claim_grows_where_its_class_allows_it(release: Release, class_that_grows: str) -> None:
    release("install", values=cache(size="50Gi", storageClassName=class_that_grows))
    release.tenant.wait(
        "v1", "PersistentVolumeClaim", CLAIM,
        lambda found: (found or {}).get("status", {}).get("phase") == "Bound",
    )  # fmt: skip
    notes = release("upgrade", values=cache(size="100Gi"))
    assert "modelCache" not in notes
    assert size(release) == "100Gi"
    release("uninstall")


@pytest.mark.parametrize(
    "without", [{"modelCache.enabled": False}, cache(existingClaim="other")], ids=["off", "other"]
)
def test_turning_it_off_keeps_the_weights(release: Release, without: Json) -> None:
    release("install", values=cache())
    uid = claim(release)["metadata"]["uid"]
    for _ in range(2):
        notes = release("upgrade", values=without)
        assert f"delete pvc {CLAIM}" in notes
        assert claim(release)["metadata"]["uid"] == uid
    release("upgrade", values=cache())
    assert claim(release)["metadata"]["uid"] == uid
    release("uninstall")


def test_a_claim_of_an_earlier_chart_is_kept_as_well(release: Release) -> None:
    """Those had no annotation by default: helm would delete the claim."""
    release("install", values=cache(keep=False))
    assert KEPT not in claim(release)["metadata"].get("annotations", {})
    uid = claim(release)["metadata"]["uid"]
    for _ in range(2):
        release("upgrade", values={"modelCache": {"enabled": False}})
        found = claim(release)["metadata"]
        assert (found["uid"], found["annotations"][KEPT]) == (uid, "keep")
    release("uninstall")
    assert claim(release)["metadata"]["uid"] == uid


def test_weights_are_deleted_on_request(release: Release) -> None:
    release("install", values=cache(keep=False))
    release("upgrade", values={"modelCache": {"enabled": False, "keep": False}})
    release.tenant.wait("v1", "PersistentVolumeClaim", CLAIM, is_going)
    release("uninstall")


def is_going(found: Json | None) -> bool:
    return found is None or "deletionTimestamp" in found["metadata"]
