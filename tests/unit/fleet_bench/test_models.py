"""The model that is measured where none is named."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Response

from fleet_bench.models import NoModel, choose, listed


def test_a_ready_model_of_the_task_comes_before_others() -> None:
    entries = [
        {"id": "a", "task": "chat", "state": "failed"},
        {"id": "b", "task": "embedding", "state": "ready"},
        {"id": "c", "task": "chat", "state": "ready"},
        {"id": "d", "task": "chat", "state": "ready"},
    ]
    assert choose(entries, "chat") == "c"
    assert choose(entries[:2], "chat") == "a"


def test_a_single_model_without_a_task_is_taken() -> None:
    assert choose([{"id": "gpt"}], "embedding") == "gpt"


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ([], "no model"),
        ([{"id": "one"}, {"id": "two"}], "one, two"),
        ([{"id": "x", "task": "speech"}], "task chat (x)"),
    ],
)
def test_the_error_lists_the_available_models(entries: list[Any], named: str) -> None:
    with pytest.raises(NoModel, match="--model-name") as error:
        choose(entries, "chat")
    assert named in str(error.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, "{}"), (200, "<html>"), (200, "[]"), (200, '{"data": [{}]}'), (200, '{"data": 1}')],
)
def test_an_invalid_list_of_models_is_an_error(listen: Any, status: int, body: str) -> None:
    app = FastAPI(openapi_url=None)
    app.get("/v1/models")(lambda: Response(body, status, media_type="application/json"))
    with listen(app) as port, pytest.raises(NoModel, match="--model-name"):
        listed(f"http://127.0.0.1:{port}/v1", {})


def test_an_address_without_a_server_is_named() -> None:
    with pytest.raises(NoModel, match="modelfleet up"):
        listed("http://127.0.0.1:9/v1", {})
