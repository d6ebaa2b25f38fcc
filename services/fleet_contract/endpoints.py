"""The inference paths of each task, and the error for a path of another task."""

from __future__ import annotations

from fleet_contract.errors import WrongTask
from fleet_contract.spec import Task

TASK_OF_PATH: dict[str, Task] = {
    "/v1/chat/completions": Task.CHAT,
    "/v1/chat/completions/render": Task.CHAT,
    "/v1/completions": Task.CHAT,
    "/v1/responses": Task.CHAT,
    "/v1/messages": Task.CHAT,
    "/v1/messages/count_tokens": Task.CHAT,
    "/apply-template": Task.CHAT,
    "/v1/embeddings": Task.EMBEDDING,
    "/embeddings": Task.EMBEDDING,
    "/embedding": Task.EMBEDDING,
    "/v1/rerank": Task.RERANK,
    "/v2/rerank": Task.RERANK,
    "/v1/reranking": Task.RERANK,
    "/rerank": Task.RERANK,
    "/reranking": Task.RERANK,
    "/v1/audio/transcriptions": Task.SPEECH,
    "/v1/audio/translations": Task.SPEECH,
}
"""Inference paths, all POST; the first path of a task is the recommended one."""


def main_path(task: Task) -> str:
    """The recommended path of a task."""
    return next(path for path, known in TASK_OF_PATH.items() if known is task)


def wrong_task(model: str, task: Task, path: str) -> WrongTask:
    """The error for a request to `path` with a model of `task`."""
    message = f"The model {model!r} is for {task.value}, which {path} does not serve;"
    return WrongTask(f"{message} use {main_path(task)}.", param="model")
