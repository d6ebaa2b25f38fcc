"""The nested blocks of a ModelSpec, with their defaults."""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from fleet_contract.spec_base import SpecPart

MIB = 1024 * 1024


class WeightPart(SpecPart):
    """One part of a weight file."""

    url: str = Field(max_length=2000)
    """Address of the part, with any scheme `source` accepts."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the part; required for `https://`."""


class WeightFile(SpecPart):
    """One weight file, concatenated from its parts."""

    path: str = Field(max_length=500, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")
    """Path of the file in the model's folder."""
    parts: list[WeightPart] = Field(min_length=1, max_length=64)
    """The parts, in order."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the whole file."""


class Defaults(SpecPart):
    """Generation parameters of requests that set none."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature; 0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling: probability mass to sample from."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most new tokens of a response."""


class Limits(SpecPart):
    """Limits; a request that exceeds one is refused with an error that names both numbers."""

    max_queue_size: int = Field(default=256, ge=0)
    """Requests that may wait; more get a 429."""
    queue_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the queue that one caller may fill while others have requests here."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Most concurrent forward passes, each on the whole device; chosen by the engine by default.
    Requests batched into one pass count once: see `batching.maxSize`."""
    max_batch_size: int | None = Field(default=None, ge=1)
    """Earlier name of `batching.passSize`, which takes precedence."""
    max_items: int = Field(default=2048, ge=1)
    """Most embedding inputs or rerank documents in one request."""
    max_text_chars: int = Field(default=1_000_000, ge=1)
    """Most characters of one text."""
    max_request_chars: int = Field(default=4_000_000, ge=1)
    """Most characters (or token ids) of all texts of one embedding or rerank request."""
    truncate_inputs: bool = False
    """Whether embedding and rerank inputs longer than the model's context are truncated instead of
    refused."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Most tokens of a chat prompt; the model's context by default."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Most new tokens a request may ask for; the model's context by default."""
    max_stop: int = Field(default=4, ge=0)
    """Most stop strings in one request."""
    max_body_bytes: int | None = Field(default=None, ge=1)
    """Largest JSON body in bytes: by default 8 MiB, or 64 MiB if it may contain images."""
    max_audio_bytes: int = Field(default=25 * MIB, ge=1)
    """Largest uploaded recording in bytes."""
    max_audio_seconds: int = Field(default=4 * 3600, ge=1)
    """Longest decoded recording in seconds."""
    max_scratch_bytes: int = Field(default=4096 * MIB, ge=1)
    """Most bytes that the recordings of all requests together take in memory and temporary files,
    decoded to 64,000 bytes per second; more get a 429."""
    max_images: int = Field(default=8, ge=0)
    """Most images in one chat request."""
    request_timeout: float = Field(default=600, gt=0)
    """Seconds a request may take once it is running."""


class Batching(SpecPart):
    """How requests are batched into one forward pass."""

    enabled: bool = True
    """Whether requests are batched."""
    window_ms: float = Field(default=0, ge=0, le=1000)
    """Milliseconds embedding and rerank requests wait for more requests to batch; 0 batches those
    already waiting."""
    max_size: int | None = Field(default=None, ge=1)
    """Most requests in one batch; chosen by the engine by default."""
    pass_size: int | None = Field(default=None, ge=1)
    """Most embedding or rerank items in one forward pass; 32 by default."""
    max_tokens: int = Field(default=8192, ge=1)
    """Most tokens in one forward pass, padding included."""
    allow_vision: bool = False
    """Whether chat requests with images are batched too."""


class Cache(SpecPart):
    """Sizes of the caches a server keeps in memory."""

    embeddings: int = Field(default=256, ge=0)
    """Embeddings kept for repeated inputs; 0 keeps none."""
    kv_gib: float = Field(default=1, gt=0)
    """GiB of key/value cache for chat."""
    prefix: bool = True
    """Whether chat prompts share cached prefixes."""


class Warmup(SpecPart):
    """Warm-up passes before the server reports ready."""

    enabled: bool = True
    """Whether warm-up passes are run."""
    batch_size: int = Field(default=1, ge=1)
    """Items in a warm-up pass."""
    steps: int = Field(default=1, ge=1)
    """Number of warm-up passes."""


def _image_host(text: str) -> str:
    """The host in lower case. Raises ValueError unless it is a name, an address or a CIDR block."""
    host = text.strip().lower()
    if host == "*" or HOST_NAME.fullmatch(host):
        return host
    try:
        return str(ip_network(host)) if "/" in host else str(ip_address(host))
    except ValueError as error:
        raise ValueError(
            f"{text!r} is not a host name, IP address or CIDR block: {error}"
        ) from None


HOST_NAME = re.compile(r"(?!.*\.[0-9]+$)(?![0-9]+$)[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""In lower case; the last label must not be numeric, as in an IPv4 address."""
ImageHost = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:/*-]+$"),
    AfterValidator(_image_host),
]


class ImageInputs(SpecPart):
    """How image URLs in chat messages are handled; data URLs are always accepted."""

    allow_remote: bool = False
    """Whether http(s) URLs are fetched."""
    timeout: float = Field(default=5, gt=0)
    """Seconds a whole fetch may take."""
    max_bytes: int = Field(default=5 * MIB, ge=1)
    """Largest image in bytes, fetched or in a data URL."""
    max_pixels: int = Field(default=32_000_000, ge=1)
    """Most pixels of a decoded image."""
    allowed_hosts: list[ImageHost] = Field(default_factory=list, max_length=64)
    """If set, the only hosts images are fetched from; private addresses are allowed. Host names,
    IP addresses or CIDR blocks; `*` stands for every public address."""


class GoldenCheck(SpecPart):
    """A request with a known result."""

    prompt: str | None = None
    """Chat prompt, decoded greedily."""
    contains: str | None = None
    """Text the response must contain."""
    similar: list[str] = Field(default_factory=list, max_length=2)
    """Two texts with similar embeddings."""
    min_cosine: float = Field(default=0.5, ge=-1, le=1)
    """Least cosine similarity of the two."""


class RoutingStrategy(StrEnum):
    """How the router chooses a server of a model."""

    LEAST_LOAD = "LeastLoad"
    PREFIX_HASH = "PrefixHash"


class Routing(SpecPart):
    """How the router chooses a server of this model."""

    strategy: RoutingStrategy = RoutingStrategy.LEAST_LOAD
    """`LeastLoad`, or `PrefixHash` to send equal prompt prefixes to the server that cached them."""
    hold_seconds: float | None = Field(default=None, ge=0, le=3600)
    """Seconds a request waits while there is no server; the router's setting by default."""
    hold_requests: int | None = Field(default=None, ge=0)
    """Requests that may wait for a server; more get a 429. The router's setting by default."""


class RolloutMode(StrEnum):
    """How servers are replaced: `Auto` lets the operator choose for each version."""

    AUTO = "Auto"
    SURGE = "Surge"
    HAND_OVER = "HandOver"


class RolloutPolicy(SpecPart):
    """How a new version replaces the servers of the old one."""

    strategy: RolloutMode = RolloutMode.AUTO
    """`Surge`: a new server is ready before an old one stops, however long that takes. `HandOver`:
    an old server stops first. `Auto`: surge, or hand-over where there is no room for both."""


def _not_too_deep(value: dict[str, Any]) -> dict[str, Any]:
    """`value` if it is nested at most MAX_NESTING deep. Raises ValueError."""
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        level = [inner for outer in level
                 for inner in (outer.values() if isinstance(outer, dict) else outer)
                 if isinstance(inner, dict | list)]  # fmt: skip
        if not level:
            return value
    raise ValueError(f"nested more than {MAX_NESTING} levels deep")


MAX_NESTING = 32
PodPart = Annotated[dict[str, Any], AfterValidator(_not_too_deep)]
"""A part of a PodSpec, of which only the depth is checked: the API server accepts 10,000 levels."""


def _as_text(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(value)


QUANTITY = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,3})?$"
"""A quantity that is not negative, as in kubernetes.io/docs/reference/kubernetes-api/
common-definitions/quantity. The chart's values.schema.json has the same pattern."""
QUANTITY_CHARS = 64

Quantity = Annotated[
    str,
    Field(
        max_length=QUANTITY_CHARS,
        pattern=QUANTITY,
        json_schema_extra={"x-kubernetes-int-or-string": True, "minimum": 0},
    ),
    BeforeValidator(_as_text),
]
"""A Kubernetes quantity such as `500m`, `2` or `4Gi`; numbers are accepted as well. In a custom
resource, fractions are strings: its schema cannot express a field of numbers and strings."""


class Resources(SpecPart):
    """Compute resources, as in a container spec."""

    requests: dict[str, Quantity] = Field(default_factory=dict)
    """Resources reserved for the container, such as `cpu: 2`."""
    limits: dict[str, Quantity] = Field(default_factory=dict)
    """Most the container may use, such as `nvidia.com/gpu: 1`."""


class KeyRef(SpecPart):
    """A key of a Secret or ConfigMap in the model's namespace."""

    name: str = Field(min_length=1, max_length=253)
    """Name of the Secret or ConfigMap."""
    key: str = Field(min_length=1, max_length=253)
    """Key in it."""
    optional: bool = False
    """Whether the pod starts without it."""


class ValueSource(SpecPart):
    """Where the value of an environment variable is read from; exactly one of both."""

    secret_key_ref: KeyRef | None = None
    config_map_key_ref: KeyRef | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError("must have either secretKeyRef or configMapKeyRef")
        return self


class VariableSource(SpecPart):
    """An environment variable whose value is not in the spec."""

    value_from: ValueSource


def _is_variable(value: Any) -> Any:
    if isinstance(value, str | dict | VariableSource):
        return value
    raise ValueError("must be a string, or valueFrom with secretKeyRef or configMapKeyRef")


EnvValue = Annotated[
    Annotated[str, Tag("value")] | Annotated[VariableSource, Tag("source")],
    Discriminator(lambda value: "value" if isinstance(value, str) else "source"),
    BeforeValidator(_is_variable),
    WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True}),
]
"""A string, or `{valueFrom: {secretKeyRef: {name, key}}}`, as in a container spec. The schema of a
custom resource cannot express a field of strings and objects."""


class ObjectRef(SpecPart):
    """A Secret or ConfigMap in the model's namespace."""

    name: str = Field(min_length=1, max_length=253)
    """Its name."""
    optional: bool = False
    """Whether the pod starts without it."""


class EnvFrom(SpecPart):
    """A Secret or ConfigMap whose keys become environment variables."""

    prefix: str = Field(default="", max_length=100)
    """Text before each key in the name of its variable."""
    secret_ref: ObjectRef | None = None
    """A Secret."""
    config_map_ref: ObjectRef | None = None
    """A ConfigMap."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret_ref is None) == (self.config_map_ref is None):
            raise ValueError("must have either secretRef or configMapRef")
        return self


class Bucket(SpecPart):
    """The store that holds the bucket of an `s3://` source, and the keys to read it."""

    endpoint: str | None = Field(
        default=None, max_length=2000, pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?$"
    )
    """Address of a store that is compatible with S3; that of AWS in the region by default."""
    region: str | None = Field(default=None, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")
    """Region of the bucket."""
    virtual_hosted: bool | None = None
    """Whether the name of the bucket is part of the host; by default only at AWS itself."""
    secret_ref: ObjectRef | None = None
    """Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN if
    the store needs one. Only Modelfleet's own servers get it, and only to fetch the weights."""


class DeviceRequest(SpecPart):
    """Devices of one class, allocated dynamically (DRA, resource.k8s.io/v1)."""

    device_class: str = Field(
        alias="class", max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
    )
    """Name of the DeviceClass, such as `gpu.nvidia.com`."""
    count: int = Field(default=1, ge=1, le=32)
    """Number of devices."""
    selectors: list[Annotated[str, Field(min_length=1, max_length=10_240)]] = Field(
        default_factory=list, max_length=32
    )
    """CEL expressions on `device` that a device must fulfil."""


class MountedFile(SpecPart):
    """A small file mounted into the server's container."""

    path: str = Field(max_length=500, pattern=r"^/")
    """Absolute path of the file."""
    content: str = Field(max_length=100_000)
    """Content of the file."""


class Remote(SpecPart):
    """An OpenAI-compatible server outside the cluster."""

    address: str = Field(pattern=r"^https?://", max_length=2000)
    """Base URL, without `/v1`."""
    model: str | None = None
    """Model id sent to that server; this model's own by default."""
    api_key_env: str | None = None
    """Environment variable of the router that holds the API key."""


class Container(SpecPart):
    """A container with an OpenAI-compatible server."""

    image: str | None = None
    """Container image."""
    args: list[str] = Field(default_factory=list)
    """Arguments of its entry point."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Port it listens on."""
    ready_path: str = Field(default="/health", pattern=r"^/", max_length=200)
    """Path that returns 200 once the model can serve requests."""
