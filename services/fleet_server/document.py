"""The OpenAPI document of a model server."""

from __future__ import annotations

from collections.abc import Iterable

from fleet_contract.spec import ModelSpec, Task
from fleet_web.openapi import admin, inference
from fleet_web.openapi.document import build
from fleet_web.openapi.operation import Operation
from fleet_web.openapi.parts import Json


def document(spec: ModelSpec, *, with_metrics: bool) -> Json:
    """The OpenAPI document of a server of `spec`."""
    return build(
        f"{spec.model} on Modelfleet",
        f"A model server for {spec.task.value}. `model` is optional; if given, it must be one of "
        f"{', '.join(f'`{name}`' for name in spec.ids)}.",
        operations(spec.task, with_metrics=with_metrics),
    )


def operations(task: Task, *, with_metrics: bool) -> Iterable[Operation]:
    """All operations of a server of `task`."""
    yield from inference.task_operations(task)
    yield from inference.token_operations(task)
    yield from admin.server_operations(with_metrics=with_metrics)
    yield from inference.wrong_task_operations(task)
