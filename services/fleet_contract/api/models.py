"""GET /v1/models and the probes, of a server and of a router."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict


class Modalities(TypedDict):
    """What a model reads and gives: `text`, `image`, `audio`, `embedding`, `score`."""

    input: list[str]
    output: list[str]


class ModelObject(TypedDict):
    """An OpenAI model object with the fields this project adds. `state` is `ready` when it
    answers."""

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


class ModelList(TypedDict):
    """Models that may be asked."""

    object: Literal["list"]
    data: list[ModelObject]


class Status(TypedDict):
    """One word: `ok`, or why not."""

    status: str


class Progress(TypedDict):
    """How far a download is; what is not known is null."""

    done_bytes: int
    total_bytes: int | None
    bytes_per_second: int | None
    seconds_left: float | None


class ServerHealth(TypedDict):
    """Where a server is in its life. `stages` are seconds."""

    status: str
    model: str
    engine: str | None
    device: str | None
    progress: Progress | None
    stages: dict[str, float]


class FleetHealth(TypedDict):
    """The state of every model."""

    status: str
    models: dict[str, str]
