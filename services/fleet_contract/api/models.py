"""GET /v1/models and the probes of servers and routers."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict


class Modalities(TypedDict):
    """Inputs and outputs of a model: `text`, `image`, `audio`, `embedding`, `score`."""

    input: list[str]
    output: list[str]


class ModelObject(TypedDict):
    """An OpenAI model object with additional fields. `state` is `ready` when the model serves
    requests."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    task: str
    engine: str
    engine_reason: str | None
    device: str | None
    state: str
    modalities: Modalities
    dimensions: int | None
    context_length: int | None
    aliases: list[str]
    adapters: list[str]
    """Ids of the model's LoRA adapters."""
    parent: str | None
    """Id of the model of a LoRA adapter."""
    memory_bytes: int | None
    """Resident memory of the server in bytes; of several, of the one described."""
    reason: NotRequired[str]
    """Why the model is not ready, or how far its start is, if the router has this."""


class ModelList(TypedDict):
    """Models available to the client."""

    object: Literal["list"]
    data: list[ModelObject]


class Status(TypedDict):
    """`ok`, or the reason in one word."""

    status: str


class Progress(TypedDict):
    """Progress of a download; unknown values are null."""

    done_bytes: int
    total_bytes: int | None
    bytes_per_second: int | None
    seconds_left: float | None


class ServerHealth(TypedDict):
    """State of a server; `stages` maps each stage of its start to seconds."""

    status: str
    model: str
    engine: str | None
    device: str | None
    progress: Progress | None
    stages: dict[str, float]
    in_flight: int
    """Requests that run."""
    queue_depth: int
    """Requests that wait for a slot."""


class FleetHealth(TypedDict):
    """State of the models that the caller may use; only `status` without a key where one is
    required."""

    status: str
    models: NotRequired[dict[str, str]]
    warnings: NotRequired[list[str]]


class ModelLoad(TypedDict):
    """The load of one model at one router."""

    in_flight: int
    """Requests whose response is not complete, waiting ones included."""
    idle_seconds: float
    """Seconds since the last request began or ended; 0 while one is in flight."""


class LoadReport(TypedDict):
    """Models with requests in the last hour, by id."""

    models: dict[str, ModelLoad]
