"""The `status` of an InferenceModel: written by the operator, read by the router and by people.

The schema of the custom resource definition is generated from these classes, as the spec's is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from fleet_contract.spec_base import SpecPart

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339, UTC, whole seconds."""


class Phase(StrEnum):
    """One word for the state of a model."""

    PENDING = "Pending"
    PROGRESSING = "Progressing"
    READY = "Ready"
    DEGRADED = "Degraded"
    SCALED_TO_ZERO = "ScaledToZero"
    STOPPED = "Stopped"
    FAILED = "Failed"
    CONFLICT = "Conflict"


class Condition(SpecPart):
    """One aspect of the state, by the Kubernetes API conventions."""

    type: str = Field(max_length=316)
    """Aspect: Ready, Progressing, Scheduled, WeightsReady, Loaded, RolloutStrategy or
    Accelerated."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str = Field(max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$")
    """Stable word for why."""
    message: str = Field(max_length=32768)
    """The same for people."""
    last_transition_time: Time
    """When `status` last changed."""
    observed_generation: int
    """Generation of the resource this was said about."""


class WeightsProgress(SpecPart):
    """How far the fetch of the weights is, on the server that is furthest behind."""

    done_bytes: int
    """Bytes on disk."""
    total_bytes: int | None = None
    """Bytes in all, where the source says so."""
    bytes_per_second: int | None = None
    """Present rate."""
    seconds_left: int | None = None
    """Seconds to go at that rate."""


class ColdStart(SpecPart):
    """Seconds of the last start of a server from nothing, by stage.

    The first two have the resolution of Kubernetes timestamps: one second.
    """

    schedule_seconds: float | None = None
    """From the pod's creation to its node."""
    image_seconds: float | None = None
    """From the node to the running container: volumes, sandbox, image."""
    start_seconds: float | None = None
    """From the process to its HTTP server."""
    fetch_seconds: float | None = None
    """Fetching weights."""
    load_seconds: float | None = None
    """Reading weights and compiling."""
    warm_seconds: float | None = None
    """Warm-up passes."""
    golden_seconds: float | None = None
    """Golden checks."""
    total_seconds: float
    """From the pod's creation to Ready."""
    at: Time
    """When the server became ready."""


class Scaling(SpecPart):
    """What built-in autoscaling decided and must remember."""

    desired_replicas: int
    """Servers it wants."""
    reason: str = ""
    """Why: Load, Idle, or RoutersUnknown and RouterSilent, while nothing is taken away."""
    last_active_time: Time | None = None
    """When a request was last seen."""
    requests_seen: int | None = None
    """Sum of the routers' request counters at that time."""
    low_since: Time | None = None
    """Since when fewer servers would do."""
    low_peak: int | None = None
    """Most servers wanted since then."""


class Rollout(SpecPart):
    """Which version of the pods is known to work, so that a failed one can be taken back."""

    stable_hash: str | None = None
    """Pod template that last served."""
    failed_hash: str | None = None
    """Pod template that was taken back."""
    failed_message: str | None = None
    """Why."""


class ModelStatus(SpecPart):
    """What the operator last observed."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    phase: Phase
    """State in one word."""
    reason: str = ""
    """What is wrong or going on, in one stable word."""
    ready: str = "0/0"
    """Ready servers and wanted servers."""
    replicas: int = 0
    """Servers that exist."""
    ready_replicas: int = 0
    """Servers that are ready."""
    selector: str = ""
    """Label selector of the servers' pods, for autoscalers."""
    url: str = ""
    """Address of the servers inside the cluster."""
    task: str = ""
    """What the model does."""
    engine: str = ""
    """Engine that runs the model; `auto` until a server has chosen."""
    acceleration: str = ""
    """Device the servers really use."""
    weights: WeightsProgress | None = None
    """Progress of the weights while they are fetched."""
    cold_start: ColdStart | None = None
    """Where the seconds of the last start went."""
    scaling: Scaling | None = None
    """State of built-in autoscaling."""
    rollout: Rollout | None = None
    """State of the last rollouts."""
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    """State by aspect."""
    resolved: dict[str, Any] | None = None
    """The spec completed from catalog and profile, without `files`."""
