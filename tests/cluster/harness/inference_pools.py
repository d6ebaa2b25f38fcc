"""The definition of InferencePool (inference.networking.k8s.io/v1), without descriptions.

Source: config/crd/bases in github.com/kubernetes-sigs/gateway-api-inference-extension at 84436a9.
"""

from __future__ import annotations

from typing import Any

from harness import definitions
from harness.api import Api, Json

API = "inference.networking.k8s.io/v1"
KIND = "InferencePool"
Schema = dict[str, Any]

GROUP = {
    "type": "string",
    "minLength": 0,
    "maxLength": 253,
    "pattern": r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
}
KIND_NAME = {
    "type": "string",
    "minLength": 1,
    "maxLength": 63,
    "pattern": "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$",
}
NAME = {"type": "string", "minLength": 1, "maxLength": 253}
LABEL_VALUE = {
    "type": "string",
    "minLength": 0,
    "maxLength": 63,
    "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
}
PORT: Schema = {
    "type": "object",
    "properties": {
        "number": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535}
    },
    "required": ["number"],
}
PICKER: Schema = {
    "type": "object",
    "properties": {
        "group": {**GROUP, "default": ""},
        "kind": {**KIND_NAME, "default": "Service"},
        "name": NAME,
        "port": PORT,
        "failureMode": {
            "type": "string",
            "enum": ["FailOpen", "FailClose"],
            "default": "FailClose",
        },
    },
    "required": ["name"],
    "x-kubernetes-validations": [
        {"rule": "self.kind != 'Service' || has(self.port)", "message": "a Service needs a port"}
    ],
}
SPEC: Schema = {
    "type": "object",
    "properties": {
        "appProtocol": {
            "type": "string",
            "enum": ["http", "kubernetes.io/h2c"],
            "default": "http",
        },
        "endpointPickerRef": PICKER,
        "selector": {
            "type": "object",
            "properties": {
                "matchLabels": {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 64,
                    "additionalProperties": LABEL_VALUE,
                }
            },
            "required": ["matchLabels"],
        },
        "targetPorts": {
            "type": "array",
            "minItems": 1,
            "maxItems": 8,
            "items": PORT,
            "x-kubernetes-list-type": "atomic",
            "x-kubernetes-validations": [
                {
                    "rule": "self.all(p1, self.exists_one(p2, p1.number==p2.number))",
                    "message": "ports must be unique",
                }
            ],
        },
    },
    "required": ["selector", "targetPorts"],
}
CONDITION: Schema = {
    "type": "object",
    "properties": {
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "message": {"type": "string", "maxLength": 32768},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "reason": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        },
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "type": {
            "type": "string",
            "maxLength": 316,
            "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
            r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        },
    },
    "required": ["lastTransitionTime", "message", "reason", "status", "type"],
}
PARENT: Schema = {
    "type": "object",
    "properties": {
        "conditions": {
            "type": "array",
            "maxItems": 8,
            "items": CONDITION,
            "x-kubernetes-list-map-keys": ["type"],
            "x-kubernetes-list-type": "map",
        },
        "controllerName": {
            "type": "string",
            "minLength": 1,
            "maxLength": 253,
            "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
            r"\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
        },
        "parentRef": {
            "type": "object",
            "properties": {
                "group": {**GROUP, "default": "gateway.networking.k8s.io"},
                "kind": {**KIND_NAME, "default": "Gateway"},
                "name": NAME,
                "namespace": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 63,
                    "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
                },
            },
            "required": ["name"],
        },
    },
    "required": ["parentRef"],
}
STATUS: Schema = {
    "type": "object",
    "properties": {
        "parents": {
            "type": "array",
            "maxItems": 32,
            "items": PARENT,
            "x-kubernetes-list-type": "atomic",
        }
    },
}
DEFINITION: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "inferencepools.inference.networking.k8s.io",
        "annotations": {
            "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/"
            "gateway-api-inference-extension/pull/1173"
        },
    },
    "spec": {
        "group": "inference.networking.k8s.io",
        "names": {
            "kind": KIND,
            "listKind": f"{KIND}List",
            "plural": "inferencepools",
            "shortNames": ["infpool"],
            "singular": "inferencepool",
        },
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "apiVersion": {"type": "string"},
                            "kind": {"type": "string"},
                            "metadata": {"type": "object"},
                            "spec": SPEC,
                            "status": STATUS,
                        },
                        "required": ["spec"],
                    }
                },
            }
        ],
    },
}


def install(api: Api) -> None:
    """Apply the definition and wait until it is established."""
    definitions.install(api, [DEFINITION])


def remove(api: Api) -> None:
    """Delete the definition, with all InferencePools, and wait until it is gone."""
    api.delete(DEFINITION)
    api.wait(
        DEFINITION["apiVersion"], DEFINITION["kind"], None, DEFINITION["metadata"]["name"],
        lambda found: found is None,
    )  # fmt: skip
