"""Every name two parts must agree on: API group, headers, environment variables, paths."""

from __future__ import annotations

GROUP = "modelfleet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "InferenceModel"
PLURAL = "inferencemodels"

HEADER_REQUEST_ID = "x-request-id"
HEADER_MODEL = "x-modelfleet-model"
HEADER_ENDPOINT = "x-modelfleet-endpoint"
HEADER_QUEUE_MS = "x-modelfleet-queue-ms"
HEADER_COLD = "x-modelfleet-cold"

ENV_SPEC = "MODELFLEET_SPEC"
"""The resolved ModelSpec as JSON: how a model server is told what to serve."""

PATH_LIVE = "/livez"
PATH_READY = "/readyz"
PATH_HEALTH = "/health"
PATH_METRICS = "/metrics"
