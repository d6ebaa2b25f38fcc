"""Names that several processes share: API group, labels, headers, environment variables, paths."""

from __future__ import annotations

GROUP = "modelfleet.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "InferenceModel"
PLURAL = "inferencemodels"

LABEL_MODEL = f"{GROUP}/inferencemodel"
"""On every child of an InferenceModel, EndpointSlices included: the resource's name."""
ANNOTATION_WAKE = f"{GROUP}/wake-at"
"""On an InferenceModel: when a router last requested a server (RFC 3339)."""

HEADER_REQUEST_ID = "x-request-id"
HEADER_MODEL = "x-modelfleet-model"
HEADER_ENDPOINT = "x-modelfleet-endpoint"
HEADER_QUEUE_MS = "x-modelfleet-queue-ms"
HEADER_PROMPT_MS = "x-modelfleet-prompt-ms"
HEADER_FIRST_TOKEN_MS = "x-modelfleet-first-token-ms"  # noqa: S105
HEADER_DECODE_MS = "x-modelfleet-decode-ms"
HEADER_COLD = "x-modelfleet-cold"
HEADER_UNENFORCED = "x-modelfleet-schema-unenforced"
"""The keywords of a schema that the text need not follow, separated by commas."""

HEADER_SESSION = "x-modelfleet-session"
"""On a request: requests with the same value go to the same member of a traffic group."""
HEADER_FALLBACK = "x-modelfleet-fallback"
HEADER_USAGE = "x-modelfleet-usage"
"""Between router and server only. On a request: report the usage. On a response: OpenAI's usage
object, where the body's own format has no field for it."""

HEADER_ABSENT = "x-modelfleet-absent"
"""From server to router, on a 404: an adapter that other servers of the model may have."""

HEADER_INSTANCE = "x-modelfleet-instance"
"""On responses to probes: the value of ENV_INSTANCE, by which a supervisor recognizes its child."""
HEADER_HOPS = "x-modelfleet-hops"
"""From router to remote server: how many routers the request has passed."""

PVC_MOUNT = "/weights"
"""Where the operator mounts the claim of a `pvc://claim/path` source, read-only."""
IMAGE_MOUNT = "/modelfleet-image"
"""Where the operator mounts the image of an `oci://` source, read-only."""
SERVER_PORT = 8000
"""Port of a model server in its pod."""

ENV_SPEC = "MODELFLEET_SPEC"
"""The ModelSpec a model server serves, as JSON."""
ENV_INSTANCE = "MODELFLEET_INSTANCE"
"""A random value that each start of a process in local mode gets."""
ENV_CONTROL = "MODELFLEET_CONTROL"
"""A secret that `modelfleet up` gives its router, and sends with requests to PATH_CONTROL."""
HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Variables with a token of the hub; processes that do not download do not get them."""

BUCKET_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Variables with the keys of a bucket, and the names of these keys in the Secret of `s3`."""
REGISTRY_LOGINS = "DOCKER_AUTH_CONFIG"
"""Variable with the logins of container registries, as in docker's config.json."""
FETCH_SECRETS = (*HUB_TOKENS, *BUCKET_KEYS, REGISTRY_LOGINS)
"""Variables that only the download of weights reads."""

PATH_LIVE = "/livez"
PATH_READY = "/readyz"
PATH_HEALTH = "/health"
PATH_METRICS = "/metrics"
PATH_LOAD = "/load"
"""Load report of a router."""
PATH_CONTROL = "/control"
"""What a router reports to the `modelfleet up` that started it."""
PATH_OPENAPI = "/openapi.json"
