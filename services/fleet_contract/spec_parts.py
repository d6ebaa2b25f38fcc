"""The nested blocks of a ModelSpec, with their defaults; those of pods are in `pod`."""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator, Field

from fleet_contract.pod.container import ObjectRef, PodPart
from fleet_contract.spec_base import SpecPart

MIB = 1024 * 1024
GIB = 1024 * MIB
DEFAULT_KV_GIB = 1


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


class Adapter(SpecPart):
    """A LoRA adapter of a model, which clients select with the id `<model>:<name>`."""

    name: str = Field(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the adapter; part of its id."""
    source: str = Field(max_length=2000, pattern=r"^(hf|pvc|file|https|pypi|oci)://.")
    """Address of the adapter: a folder in PEFT's format or, for llamacpp, a GGUF file; any scheme
    of the model's `source` except `s3://`."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the file at `source`; required for `https://`."""


class Defaults(SpecPart):
    """Generation parameters of requests that set none."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature; 0 is greedy."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Nucleus sampling: probability mass to sample from."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Maximum number of new tokens of a response."""


class Limits(SpecPart):
    """Limits; a request that exceeds one is refused with an error that has the limit."""

    max_queue_size: int = Field(default=256, ge=0)
    """Requests that may wait; more get a 429."""
    queue_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the queue that one caller may fill while others have requests here."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Maximum number of concurrent forward passes, each on the whole device; by default the engine
    chooses it. Requests batched into one pass count once: see `batching.maxSize`."""
    max_batch_size: int | None = Field(default=None, ge=1)
    """Earlier name of `batching.passSize`, which takes precedence."""
    max_items: int = Field(default=2048, ge=1)
    """Maximum number of embedding inputs or rerank documents in one request."""
    max_text_chars: int = Field(default=1_000_000, ge=1)
    """Maximum number of characters of one text."""
    max_request_chars: int = Field(default=4_000_000, ge=1)
    """Maximum number of characters (or token ids) in all texts of a request, for embeddings and
    rerank."""
    truncate_inputs: bool = False
    """Whether embedding and rerank inputs longer than the model's context are truncated instead of
    refused."""
    extra_sampling: bool = False
    """Whether requests may set `top_k`, `min_p` and `repetition_penalty`, which OpenAI's API does
    not have."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Maximum number of tokens of a chat prompt; the model's context by default."""
    max_new_tokens: int | None = Field(default=None, ge=1)
    """Maximum number of new tokens that a request may set; the model's context by default."""
    max_stop: int = Field(default=32, ge=0)
    """Maximum number of stop strings in one request. OpenAI accepts 4; completions in editors have
    more."""
    max_body_bytes: int | None = Field(default=None, ge=1)
    """Largest JSON body in bytes: by default 8 MiB, or 64 MiB if it may contain images."""
    max_audio_bytes: int = Field(default=25 * MIB, ge=1)
    """Largest uploaded recording in bytes."""
    max_audio_seconds: int = Field(default=4 * 3600, ge=1)
    """Maximum length of a decoded recording in seconds."""
    max_scratch_bytes: int = Field(default=4096 * MIB, ge=1)
    """Maximum number of bytes that the recordings of all requests together take in memory and
    temporary files, decoded to 64,000 bytes per second; more get a 429."""
    max_images: int = Field(default=8, ge=0)
    """Maximum number of images in one chat request."""
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
    """Maximum number of requests in one batch; chosen by the engine by default."""
    pass_size: int | None = Field(default=None, ge=1)
    """Maximum number of embedding or rerank items in one forward pass; 32 by default."""
    max_tokens: int = Field(default=8192, ge=1)
    """Maximum number of tokens in one forward pass, padding included."""
    allow_vision: bool = False
    """Whether chat requests with images are batched too."""


class CacheType(StrEnum):
    """Number format of keys and values in the cache; `q8_0` and `q4_0` are llama.cpp's."""

    AUTO = "auto"
    FLOAT16 = "float16"
    Q8_0 = "q8_0"
    Q4_0 = "q4_0"


class Cache(SpecPart):
    """Sizes of the caches a server keeps in memory."""

    embeddings: int = Field(default=256, ge=0)
    """Embeddings kept for repeated inputs; 0 keeps none."""
    kv_gib: float | None = Field(default=None, gt=0)
    """GiB of key/value cache for chat. By default 1, and with OpenVINO on a CPU less if two whole
    contexts, and 512 tokens for each sequence of a batch, fit into less."""
    type: CacheType = CacheType.AUTO
    """Number format of keys and values, for engine llamacpp: `q8_0` holds almost twice as many
    tokens as `float16`, `q4_0` more than three times as many, with less exact texts."""
    gpu_memory: float = Field(default=0.9, gt=0, le=1)
    """Share of a GPU's memory for weights, activations and key/value cache of `engine: vllm`."""
    prefix: bool = True
    """Whether chat prompts share cached prefixes."""
    release_after: int = Field(default=300, ge=0)
    """Seconds without a request after which a server gives memory back that only requests need; 0
    keeps it. Chat on openvino empties its cache; llamacpp unloads the model and its cache after 20
    seconds at least and loads them again for the next request; chat on torch returns unused
    blocks of a GPU's memory; vllm keeps its cache."""

    @property
    def kv_bytes(self) -> int:
        """The greatest size of the key/value cache, in bytes."""
        return int((DEFAULT_KV_GIB if self.kv_gib is None else self.kv_gib) * GIB)


class DraftModel(SpecPart):
    """A smaller model with the vocabulary of the model itself."""

    source: str = Field(max_length=2000, pattern=r"^(hf|pvc|file|https|pypi|oci)://.")
    """Address of its weights, a GGUF file; any scheme of the model's `source` except `s3://`."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the file at `source`; required for `https://`."""


class Speculative(SpecPart):
    """Speculative decoding: next tokens are guessed cheaply and verified in one forward pass, which
    leaves greedy responses unchanged. It helps single requests; a full batch gains nothing."""

    prompt_lookup: bool = False
    """Guess what followed the last tokens where they occurred before, for responses that repeat
    parts of the prompt, such as summaries and edits."""
    draft: DraftModel | None = None
    """Guess with a draft model, for engine llamacpp."""
    tokens: int = Field(default=5, ge=1, le=32)
    """Tokens guessed at a time."""
    ngram: int = Field(default=3, ge=1, le=16)
    """Maximum number of last tokens that prompt lookup searches for."""

    @property
    def wanted(self) -> frozenset[str]:
        """Names of the methods that are set, as on the wire."""
        found = {"promptLookup": self.prompt_lookup, "draft": self.draft is not None}
        return frozenset(name for name, is_set in found.items() if is_set)


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
    """Maximum number of pixels of a decoded image."""
    memory_bytes: int = Field(default=256 * MIB, ge=1)
    """Bytes of decoded images that running requests hold, 3 for each pixel; further requests wait.
    A request with more runs while no other has images."""
    allowed_hosts: list[ImageHost] = Field(default_factory=list, max_length=64)
    """If set, the only hosts images are fetched from; private addresses are allowed. Host names,
    IP addresses or CIDR blocks; `*` stands for every public address."""


class ExpectedCall(SpecPart):
    """A tool call that the response must contain."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    """Name of the function, the only tool of the request."""
    arguments: PodPart = Field(default_factory=dict)
    """Arguments that the call must have; their types are the function's parameters."""


class ExpectedJson(SpecPart):
    """JSON that the response must be, generated as structured output."""

    json_schema: PodPart = Field(alias="schema")
    """A JSON Schema."""


class GoldenCheck(SpecPart):
    """A request with a known result."""

    prompt: str | None = None
    """Chat prompt, decoded greedily."""
    contains: str | None = None
    """Text the response must contain."""
    tool_call: ExpectedCall | None = None
    """Call that the model must make."""
    matches: ExpectedJson | None = None
    """Schema that the response must follow to its end; `contains` may check its values."""
    similar: list[str] = Field(default_factory=list, max_length=2)
    """Two texts with similar embeddings."""
    min_cosine: float = Field(default=0.5, ge=-1, le=1)
    """Minimum cosine similarity of the two."""


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


class FailureMode(StrEnum):
    """What gateways do while an endpoint picker does not respond."""

    FAIL_OPEN = "FailOpen"
    FAIL_CLOSE = "FailClose"


class EndpointPickerService(SpecPart):
    """The Service of an endpoint picker, in the model's namespace."""

    name: str = Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    """Name of the Service."""
    port: int = Field(default=9002, ge=1, le=65535)
    """Port of the Service on which the endpoint picker serves gateways."""
    failure_mode: FailureMode = FailureMode.FAIL_CLOSE
    """While the endpoint picker does not respond, gateways refuse requests (`FailClose`), or choose
    a server themselves (`FailOpen`)."""


class InferencePool(SpecPart):
    """An InferencePool of a model's servers (Gateway API Inference Extension), by which gateways
    send requests to them past the router."""

    endpoint_picker_ref: EndpointPickerService
    """Endpoint picker that chooses the server of each request."""


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


class S3Access(SpecPart):
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


class Price(SpecPart):
    """What the use of a model costs, for usage reports; nothing is billed or refused by it."""

    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    """Currency of all amounts, as in ISO 4217."""
    input: float | None = Field(default=None, ge=0, le=1_000_000_000)
    """Amount for a million tokens of prompts."""
    cached_input: float | None = Field(default=None, ge=0, le=1_000_000_000)
    """Amount for a million tokens of prompts that were in a cache; that of `input` by default."""
    output: float | None = Field(default=None, ge=0, le=1_000_000_000)
    """Amount for a million generated tokens."""
    audio_minute: float | None = Field(default=None, ge=0, le=1_000_000_000)
    """Amount for a minute of transcribed audio."""
    hour: float | None = Field(default=None, ge=0, le=1_000_000_000)
    """Amount for an hour of one server, which no request is charged."""

    def of_request(
        self, prompt_tokens: int, cached_tokens: int, completion_tokens: int, audio_seconds: float
    ) -> float:
        """The amount for one request; `cached_tokens` are part of the prompt's."""
        full, output = self.input or 0.0, self.output or 0.0
        cached = full if self.cached_input is None else self.cached_input
        cached_tokens = min(cached_tokens, prompt_tokens)
        tokens = (prompt_tokens - cached_tokens) * full + cached_tokens * cached
        tokens += completion_tokens * output
        return tokens / 1e6 + audio_seconds / 60 * (self.audio_minute or 0.0)


class Remote(SpecPart):
    """An OpenAI-compatible server outside the cluster."""

    address: str = Field(pattern=r"^https?://", max_length=2000)
    """Base URL, without `/v1`."""
    model: str | None = None
    """Model id sent to that server; this model's own by default."""
    api_key_env: str | None = None
    """Environment variable of the router that holds the API key."""
