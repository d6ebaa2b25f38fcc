"""Certificate authorities in the server's container."""

from __future__ import annotations

from typing import Any

from fleet_operator.resources.ca_bundle import with_ca_bundle

POD: dict[str, Any] = {
    "containers": [
        {"name": "server", "env": [{"name": "PIP_CERT", "value": "/own"}]},
        {"name": "sidecar"},
    ],
    "volumes": [{"name": "tmp"}],
}


def test_without_a_configmap_nothing_changes() -> None:
    assert with_ca_bundle(POD, "", "ca.crt") == POD


def test_the_server_trusts_the_bundle() -> None:
    found = with_ca_bundle(POD, "authorities", "bundle.pem")
    server, sidecar = found["containers"]
    assert found["volumes"] == [
        {"name": "tmp"},
        {
            "name": "ca-bundle",
            "configMap": {
                "name": "authorities",
                "items": [{"key": "bundle.pem", "path": "ca.crt"}],
            },
        },
    ]
    assert server["volumeMounts"] == [
        {"name": "ca-bundle", "mountPath": "/etc/modelfleet-ca", "readOnly": True}
    ]
    assert {one["name"]: one["value"] for one in server["env"]} == {
        "PIP_CERT": "/own",
        "REQUESTS_CA_BUNDLE": "/etc/modelfleet-ca/ca.crt",
        "SSL_CERT_FILE": "/etc/modelfleet-ca/ca.crt",
    }
    assert sidecar == {"name": "sidecar"}
