"""Answers inference routes of other tasks with a 400 that names the right endpoint."""

from __future__ import annotations

from fastapi import FastAPI, Request

from fleet_contract.endpoints import TASK_OF_PATH, wrong_task
from fleet_contract.spec import ModelSpec


def mount_wrong_tasks(app: FastAPI, spec: ModelSpec) -> None:
    """Mount a refusal on every inference path that `spec`'s task does not serve."""

    async def refuse(request: Request) -> None:
        raise wrong_task(spec.model, spec.task, request.url.path)

    for path, task in TASK_OF_PATH.items():
        if task is not spec.task:
            app.add_api_route(path, refuse, methods=["POST"])
