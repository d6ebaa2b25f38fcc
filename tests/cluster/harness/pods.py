"""Manifests of Deployments and Services for tests of an image without the operator."""

from __future__ import annotations

from typing import Any

from harness.api import Json

RESTRICTED: Json = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""Container security context for Pod Security "restricted"."""


def deployment(name: str, image: str, *, environ: dict[str, str], **container: Any) -> Json:
    """A Deployment with one restricted replica; `container` overrides fields of the container."""
    labels = {"app": name}
    spec: Json = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "env": [{"name": key, "value": value} for key, value in environ.items()],
        "ports": [{"name": "http", "containerPort": 8000}],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        **container,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [spec],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    }


def mount(deployment: Json, name: str, claim: str, path: str) -> Json:
    """Mount a claim into the Deployment's container, read-only."""
    pod = deployment["spec"]["template"]["spec"]
    source = {"claimName": claim, "readOnly": True}
    pod["volumes"].append({"name": name, "persistentVolumeClaim": source})
    mounted = {"name": name, "mountPath": path, "readOnly": True}
    pod["containers"][0]["volumeMounts"].append(mounted)
    return deployment


def service(name: str, port: int = 80) -> Json:
    """A Service for the Deployment with this name."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": name},
            "ports": [{"port": port, "targetPort": "http"}],
        },
    }
