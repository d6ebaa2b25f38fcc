"""The paths the router lets through to model servers; everything else is a 404 of its own.

`app` mounts them, and metrics use them as labels, so no label is ever what a client typed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from fleet_contract.endpoints import TASK_OF_PATH
from fleet_contract.spec import Task


class BodyKind(StrEnum):
    """How a request's body names its model."""

    JSON = "json"
    MULTIPART = "multipart"


@dataclass(frozen=True, slots=True)
class PathRule:
    """A path, the task its models do (None: any) and the kind of its body. All are POST."""

    path: str
    task: Task | None
    kind: BodyKind


def _rule(path: str, task: Task | None) -> PathRule:
    return PathRule(path, task, BodyKind.MULTIPART if task is Task.SPEECH else BodyKind.JSON)


OTHER_CHAT = (
    "/v1/messages",
    "/completion",
    "/completions",
    "/infill",
    "/apply-template",
)
"""Paths of chat models that some engines serve besides (llama.cpp, vLLM, addresses elsewhere)."""

PATHS: MappingProxyType[str, PathRule] = MappingProxyType(
    {path: _rule(path, Task.CHAT) for path in OTHER_CHAT}
    | {path: _rule(path, task) for path, task in TASK_OF_PATH.items()}
    | {path: _rule(path, None) for path in ("/tokenize", "/detokenize")}
)
