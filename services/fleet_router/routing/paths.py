"""The paths that are forwarded to model servers; they are also the labels of metrics, so that no
label comes from a client."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from fleet_contract.endpoints import TASK_OF_PATH
from fleet_contract.spec import Task


class BodyKind(StrEnum):
    """The format of a request's body, which contains the model."""

    JSON = "json"
    MULTIPART = "multipart"


@dataclass(frozen=True, slots=True)
class PathRule:
    """A path, the task of its models (None: any) and the format of its body. All are POST."""

    path: str
    task: Task | None
    kind: BodyKind

    @property
    def may_stream(self) -> bool:
        """Whether the response is a stream if the body has `stream`."""
        return self.path in STREAMED


def _rule(path: str, task: Task | None) -> PathRule:
    return PathRule(path, task, BodyKind.MULTIPART if task is Task.SPEECH else BodyKind.JSON)


OTHER_CHAT = (
    "/completion",
    "/completions",
    "/infill",
)
"""Further paths of chat models that other engines support (llama.cpp, vLLM, remote)."""

STREAMED = frozenset({
    *OTHER_CHAT, "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages",
})  # fmt: skip

PATHS: MappingProxyType[str, PathRule] = MappingProxyType(
    {path: _rule(path, Task.CHAT) for path in OTHER_CHAT}
    | {path: _rule(path, task) for path, task in TASK_OF_PATH.items()}
    | {path: _rule(path, None) for path in ("/tokenize", "/detokenize")}
)
