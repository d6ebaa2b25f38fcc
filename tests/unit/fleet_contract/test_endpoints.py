"""Which path serves which task."""

from __future__ import annotations

import pytest

from fleet_contract.endpoints import TASK_OF_PATH, main_path, wrong_task
from fleet_contract.spec import Task


@pytest.mark.parametrize(
    ("task", "path"),
    [
        (Task.CHAT, "/v1/chat/completions"),
        (Task.EMBEDDING, "/v1/embeddings"),
        (Task.RERANK, "/v1/rerank"),
        (Task.SPEECH, "/v1/audio/transcriptions"),
    ],
)
def test_every_task_has_a_path_to_recommend(task: Task, path: str) -> None:
    assert main_path(task) == path
    assert TASK_OF_PATH[path] is task


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/responses", "/v1/messages"])
def test_completions_and_responses_belong_to_the_chat_task(path: str) -> None:
    assert TASK_OF_PATH[path] is Task.CHAT


def test_the_wrong_path_names_the_right_one() -> None:
    error = wrong_task("org/m", Task.EMBEDDING, "/v1/chat/completions")
    assert error.status == 400
    assert error.param == "model"
    assert error.code == "wrong_task"
    for word in ("org/m", "embedding", "/v1/chat/completions", "/v1/embeddings"):
        assert word in error.message
