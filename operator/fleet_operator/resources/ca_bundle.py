"""Certificate authorities of a cluster, mounted into the server's container from a ConfigMap. Pure.

The variables are those of OpenSSL and httpx, of requests and of pip.
"""

from __future__ import annotations

from typing import Any

from fleet_operator.names import SERVER_CONTAINER
from fleet_operator.resources.views import Raw

VOLUME = "ca-bundle"
FOLDER = "/etc/modelfleet-ca"
FILE = "ca.crt"
VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


def with_ca_bundle(
    pod: Raw, configmap: str, key: str, container: str = SERVER_CONTAINER
) -> dict[str, Any]:
    """The PodSpec with the bundle at `key` of a ConfigMap; unchanged where `configmap` is empty.

    Variables that the container has already keep their values.
    """
    if not configmap:
        return dict(pod)
    source = {"name": configmap, "items": [{"key": key, "path": FILE}]}
    containers = [_trusting(one) if one["name"] == container else one for one in pod["containers"]]
    volumes = [*(pod.get("volumes") or ()), {"name": VOLUME, "configMap": source}]
    return {**pod, "containers": containers, "volumes": volumes}


def _trusting(container: Raw) -> dict[str, Any]:
    env = list(container.get("env") or ())
    present = {one["name"] for one in env}
    env += [
        {"name": name, "value": f"{FOLDER}/{FILE}"} for name in VARIABLES if name not in present
    ]
    mount = {"name": VOLUME, "mountPath": FOLDER, "readOnly": True}
    return {
        **container,
        "env": env,
        "volumeMounts": [*(container.get("volumeMounts") or ()), mount],
    }
