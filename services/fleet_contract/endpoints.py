"""Which path serves which task, and what a client on the wrong path is told.

The router's allow-list and the servers' refusals read this table.
"""

from __future__ import annotations

from fleet_contract.errors import WrongTask
from fleet_contract.spec import Task

TASK_OF_PATH: dict[str, Task] = {
    "/v1/chat/completions": Task.CHAT,
    "/v1/completions": Task.CHAT,
    "/v1/responses": Task.CHAT,
    "/v1/embeddings": Task.EMBEDDING,
    "/embeddings": Task.EMBEDDING,
    "/embedding": Task.EMBEDDING,
    "/v1/rerank": Task.RERANK,
    "/v1/reranking": Task.RERANK,
    "/rerank": Task.RERANK,
    "/reranking": Task.RERANK,
    "/v1/audio/transcriptions": Task.SPEECH,
    "/v1/audio/translations": Task.SPEECH,
}
"""Inference paths, all POST; the first path of a task is the one to recommend."""


def main_path(task: Task) -> str:
    """The path to recommend for a task."""
    return next(path for path, known in TASK_OF_PATH.items() if known is task)


def wrong_task(model: str, task: Task, path: str) -> WrongTask:
    """The refusal of `path` for a model of `task`."""
    return WrongTask(
        f"The model {model!r} does {task.value}, which {path} does not; use {main_path(task)}.",
        param="model",
    )
