"""PersistentVolumes with weights of this machine."""

from __future__ import annotations

from pathlib import Path

from harness.api import Json


def claim(name: str, namespace: str, folder: Path) -> tuple[Json, Json]:
    """A hostPath volume of a folder of this machine, and a claim bound to it."""
    volume_name = f"{namespace}-{name}"
    size = {"storage": "10Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume_name},
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "hostPath": {"path": str(folder), "type": "Directory"},
            "claimRef": {"namespace": namespace, "name": name},
        },
    }
    request = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": volume_name,
            "resources": {"requests": size},
        },
    }
    return volume, request
