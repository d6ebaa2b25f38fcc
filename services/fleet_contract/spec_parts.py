"""The blocks inside a ModelSpec, each with its defaults."""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from fleet_contract.spec_base import SpecPart

MIB = 1024 * 1024


class WeightPart(SpecPart):
    """One piece of a weight file."""

    url: str = Field(max_length=2000)
    """Address of the piece, of any scheme `source` knows."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the piece; required for `https://`."""


class WeightFile(SpecPart):
    """One file of the weights, joined in order from its parts."""

    path: str = Field(max_length=500, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$")
    """Where the file lies in the model's folder."""
    parts: list[WeightPart] = Field(min_length=1, max_length=64)
    """The pieces, in order."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the joined file."""


class Defaults(SpecPart):
    """Generation parameters used where a request names none."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature; 0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Probability mass sampled from."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most new tokens of an answer."""


class Limits(SpecPart):
    """Bounds; a request beyond one is answered with an error that names both numbers."""

    max_queue_size: int = Field(default=256, ge=0)
    """Requests that may wait; one more is a 429."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Most passes of the model that run at once, each on the whole device; chosen by the engine
    when left out. Requests that share a pass are not counted: see `batching.maxSize`."""
    max_batch_size: int | None = Field(default=None, ge=1)
    """Earlier name of `batching.passSize`, which wins over it."""
    max_items: int = Field(default=2048, ge=1)
    """Embedding inputs or rerank documents in one request."""
    max_text_chars: int = Field(default=1_000_000, ge=1)
    """Characters of one text."""
    truncate_inputs: bool = False
    """Whether embedding and rerank inputs longer than the model are cut rather than refused."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Tokens of a chat prompt; the model's context when left out."""
    max_new_tokens: int = Field(default=2048, ge=1)
    """Most new tokens a request may ask for."""
    max_stop: int = Field(default=4, ge=0)
    """Stop strings in one request."""
    max_body_bytes: int = Field(default=64 * MIB, ge=1)
    """Bytes of a JSON body."""
    max_audio_bytes: int = Field(default=25 * MIB, ge=1)
    """Bytes of an uploaded recording."""
    max_audio_seconds: int = Field(default=4 * 3600, ge=1)
    """Seconds of a decoded recording."""
    max_images: int = Field(default=8, ge=0)
    """Images in one chat request."""
    request_timeout: float = Field(default=600, gt=0)
    """Seconds a request may take once it is running."""


class Batching(SpecPart):
    """How requests are put together for one pass of the model."""

    enabled: bool = True
    """Whether requests share passes at all."""
    window_ms: float = Field(default=0, ge=0, le=1000)
    """Milliseconds embedding and rerank requests wait for company; 0 takes what is waiting and
    never sleeps."""
    max_size: int | None = Field(default=None, ge=1)
    """Most requests in one pass; chosen by the engine when left out."""
    pass_size: int | None = Field(default=None, ge=1)
    """Most embedding or rerank items in one pass; 32 when left out."""
    max_tokens: int = Field(default=8192, ge=1)
    """Most tokens in one pass, padding included."""
    allow_vision: bool = False
    """Whether chat requests with images may share a pass."""


class Cache(SpecPart):
    """Sizes of the caches a server keeps in memory."""

    embeddings: int = Field(default=256, ge=0)
    """Embeddings kept for repeated inputs; 0 keeps none."""
    kv_gib: float = Field(default=1, gt=0)
    """GiB of key/value cache for chat."""
    prefix: bool = True
    """Whether chat prompts share the cache of equal beginnings."""


class Warmup(SpecPart):
    """What is run before the server calls itself ready."""

    enabled: bool = True
    """Whether anything is."""
    batch_size: int = Field(default=1, ge=1)
    """Items in a warm-up pass."""
    steps: int = Field(default=1, ge=1)
    """Passes."""


def _image_host(text: str) -> str:
    """The host in lower case. Raises ValueError for what is no name, address or CIDR block."""
    host = text.strip().lower()
    if host == "*" or HOST_NAME.fullmatch(host):
        return host
    try:
        return str(ip_network(host)) if "/" in host else str(ip_address(host))
    except ValueError as error:
        raise ValueError(f"{text!r} is no host name, IP address or CIDR block: {error}") from None


HOST_NAME = re.compile(r"(?!.*\.[0-9]+$)(?![0-9]+$)[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""Lower case; a last label of digits would be read as an IPv4 address."""
ImageHost = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:/*-]+$"),
    AfterValidator(_image_host),
]


class ImageInputs(SpecPart):
    """How image addresses in chat messages are treated; data URLs are always read."""

    allow_remote: bool = False
    """Whether http(s) addresses are fetched."""
    timeout: float = Field(default=5, gt=0)
    """Seconds a fetch may take in all."""
    max_bytes: int = Field(default=5 * MIB, ge=1)
    """Bytes of one image, fetched or in a data URL."""
    max_pixels: int = Field(default=32_000_000, ge=1)
    """Pixels of one decoded image."""
    allowed_hosts: list[ImageHost] = Field(default_factory=list, max_length=64)
    """Where given, the only hosts images are fetched from; their addresses may be private. A name,
    an IP address or a CIDR block; `*` stands for every public address."""


class GoldenCheck(SpecPart):
    """A request with a known answer."""

    prompt: str | None = None
    """Chat prompt, answered greedily."""
    contains: str | None = None
    """Text the answer must contain."""
    similar: list[str] = Field(default_factory=list, max_length=2)
    """Two texts whose embeddings must be close."""
    min_cosine: float = Field(default=0.5, ge=-1, le=1)
    """Least cosine of the two."""


class RoutingStrategy(StrEnum):
    """How the router chooses among the servers of one model."""

    LEAST_LOAD = "LeastLoad"
    PREFIX_HASH = "PrefixHash"


class Routing(SpecPart):
    """How the router chooses among the servers of this model."""

    strategy: RoutingStrategy = RoutingStrategy.LEAST_LOAD
    """`LeastLoad`, or `PrefixHash` to send equal beginnings to the server that cached them."""
    hold_seconds: float | None = Field(default=None, ge=0, le=3600)
    """Seconds a request waits while there is no server; the router's own setting when left out."""
    hold_requests: int | None = Field(default=None, ge=0)
    """Requests that may wait so; one more is a 429. The router's own setting when left out."""


def _as_text(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if whole else value


Quantity = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i|[eE][0-9]+)?$",
        json_schema_extra={"x-kubernetes-int-or-string": True},
    ),
    BeforeValidator(_as_text),
]
"""A Kubernetes quantity such as `500m`, `2` or `4Gi`; a whole number may be written as one."""


class Resources(SpecPart):
    """Compute resources, as in a container."""

    requests: dict[str, Quantity] = Field(default_factory=dict)
    """Least the container needs, such as `cpu: 2`."""
    limits: dict[str, Quantity] = Field(default_factory=dict)
    """Most it may use, such as `nvidia.com/gpu: 1`."""


class MountedFile(SpecPart):
    """A small file written into the server's container."""

    path: str = Field(max_length=500, pattern=r"^/")
    """Absolute path of the file."""
    content: str = Field(max_length=100_000)
    """Its text."""


class Remote(SpecPart):
    """An OpenAI-speaking server somewhere else."""

    address: str = Field(pattern=r"^https?://", max_length=2000)
    """Base address, without `/v1`."""
    model: str | None = None
    """Model id to send there; this model's own when left out."""
    api_key_env: str | None = None
    """Environment variable of the router that holds the key."""


class Container(SpecPart):
    """An OpenAI-speaking image."""

    image: str | None = None
    """Image to run."""
    args: list[str] = Field(default_factory=list)
    """Arguments of its entry point."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Port it listens on."""
    ready_path: str = Field(default="/health", pattern=r"^/", max_length=200)
    """Path that answers 200 once the model can serve."""
