"""The `status` of an InferenceModel.

The custom resource definition is generated from these classes and from ModelSpec.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from fleet_contract.spec_base import SpecPart

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC, whole seconds."""

DUPLICATE_MODEL = "DuplicateModel"
"""Reason of a model whose id belongs to another resource."""
DUPLICATE_ALIAS = "DuplicateAlias"
"""Reason of a model one of whose aliases belongs to another resource."""
INVALID_SPEC = "InvalidSpec"
"""Reason of a model whose completed spec is not valid."""
UNOBSERVED = -1
"""observedGeneration of a resource that no operator has seen yet."""

REMOTE_KEY_REFUSED = "RemoteKeyRefused"
"""Reason of a remote model whose API key may not be sent to its address."""


class Phase(StrEnum):
    """The state of a model in one word."""

    PENDING = "Pending"
    PROGRESSING = "Progressing"
    READY = "Ready"
    DEGRADED = "Degraded"
    SCALED_TO_ZERO = "ScaledToZero"
    STOPPED = "Stopped"
    FAILED = "Failed"
    CONFLICT = "Conflict"


class Condition(SpecPart):
    """A condition as in the Kubernetes API conventions."""

    type: str = Field(max_length=316)
    """Ready, Available, Progressing, Reconciling, Stalled, Paused, Scheduled, WeightsReady, Loaded,
    RolloutStrategy, Traffic, Accelerated, AliasesServed, ProfileCurrent, ReplicasLimited,
    ReplicasOverwritten, InferencePool or NamespaceContested."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: str = Field(max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$")
    """Machine-readable reason."""
    message: str = Field(max_length=32768)
    """Human-readable explanation."""
    last_transition_time: Time
    """When `status` last changed."""
    observed_generation: int
    """Generation of the resource the condition refers to."""


class WeightsProgress(SpecPart):
    """Progress of the download on the server that is furthest behind."""

    done_bytes: int
    """Bytes on disk."""
    total_bytes: int | None = None
    """Total bytes, where the source reports them."""
    bytes_per_second: int | None = None
    """Current rate."""
    seconds_left: int | None = None
    """Estimated seconds left at that rate."""


class ColdStart(SpecPart):
    """Duration of the last cold start of a server, by stage.

    The first two have the resolution of Kubernetes timestamps: one second.
    """

    schedule_seconds: float | None = None
    """From the pod's creation until it is scheduled."""
    image_seconds: float | None = None
    """From scheduling to the running container: volumes, sandbox, image."""
    start_seconds: float | None = None
    """From the start of the process to its HTTP server."""
    fetch_seconds: float | None = None
    """Downloading weights."""
    load_seconds: float | None = None
    """Loading weights and compiling."""
    warm_seconds: float | None = None
    """Warm-up passes."""
    golden_seconds: float | None = None
    """Golden checks."""
    total_seconds: float
    """From the pod's creation until it is ready."""
    at: Time
    """When the server became ready."""


class Scaling(SpecPart):
    """Last decision of built-in autoscaling and the state it keeps."""

    desired_replicas: int
    """Desired number of servers."""
    reason: str = ""
    """Load, Idle, Yielded or Stopped; RoutersUnknown or RouterSilent: servers are not removed."""
    last_active_time: Time | None = None
    """When the model was last used, with scaleToZeroAfter; updated after a quarter of that time."""
    low_since: Time | None = None
    """Since when fewer servers would suffice."""
    low_peak: int | None = None
    """Maximum number of servers desired since then."""
    yielded_to: str | None = None
    """Model (namespace/name) that the servers were last stopped for, until a request comes."""
    yielded_at: Time | None = None
    """When that was."""
    active_hours: list[int] = Field(default_factory=list, max_length=200)
    """Hours since 1970 (UTC) in which requests came during the last week, with prewarm."""
    room_at: Time | None = None
    """When another model may yield, which the model waits for because it fits nowhere."""


class Rollout(SpecPart):
    """The last pod template that worked, so that a failed one can be rolled back."""

    stable_hash: str | None = None
    """Digest of the pod template that last became ready."""
    failed_hash: str | None = None
    """Digest of the pod template that was rolled back."""
    failed_message: str | None = None
    """Why it was rolled back."""
    unplaced_since: Time | None = None
    """Since when no server is left and its successor has no node."""


class TrafficShare(SpecPart):
    """The present weight of a model whose weight rises by itself."""

    weight: int
    """Percent of the group's requests."""
    start: int
    """The weight in the spec with which it began."""
    version: str
    """Digest of the pod template it refers to."""
    spec: str = ""
    """Digest of the fields of the resource's spec that the pod template depends on."""
    reason: str
    """Rising, WaitingForServers, Complete or TakenBack."""
    message: str = ""
    """Why it was taken back."""
    since: Time
    """When the weight or the reason last changed."""


class ModelStatus(SpecPart):
    """The state of the model as last observed by the operator."""

    observed_generation: int = 0
    """Generation of the spec this status refers to."""
    phase: Phase
    """State of the model in one word."""
    reason: str = ""
    """Machine-readable reason for the phase."""
    ready: str = "0/0"
    """Ready and desired servers, such as `1/2`."""
    replicas: int = 0
    """Number of servers."""
    ready_replicas: int = 0
    """Number of ready servers."""
    selector: str = ""
    """Label selector of the servers' pods, for autoscalers."""
    url: str = ""
    """Address of the servers inside the cluster."""
    task: str = ""
    """Task of the model."""
    engine: str = ""
    """Engine that runs the model; `auto` until a server has chosen one."""
    acceleration: str = ""
    """Device the servers use."""
    weights: WeightsProgress | None = None
    """Progress of the download of the weights."""
    cold_start: ColdStart | None = None
    """Duration of the last cold start, by stage."""
    scaling: Scaling | None = None
    """State of built-in autoscaling."""
    rollout: Rollout | None = None
    """State of the last rollouts."""
    traffic: TrafficShare | None = None
    """Present weight in the traffic group, where it rises by itself."""
    conditions: list[Condition] = Field(default_factory=list, max_length=32)
    """Conditions of the model."""
    resolved: dict[str, Any] | None = None
    """The spec completed from catalog and profile, without `files`, `envFrom`, `podTemplate` and
    variables of `env` other than settings of the model."""
